// Compiled, never run: the JavaScript has the types that index.d.cts promises.
import * as implementation from "../../../js/client.js";
import type { CompleteOptions, Completion, Llm, LoadOptions, load } from "pocketllama";

// Symbol.asyncDispose is there only where the language has it.
type Promised = Omit<Llm, typeof Symbol.asyncDispose>;
export const asPromised: (model?: string, options?: LoadOptions) => Promise<Promised> = implementation.load;
export const complete = (llm: implementation.Llm, prompt: string, options: CompleteOptions): Completion => llm.complete(prompt, options);
export type Whole = typeof load;
