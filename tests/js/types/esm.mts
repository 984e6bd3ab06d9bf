// Compiled, never run: what TypeScript makes of `import "pocketllama"`.
import { load, PocketllamaError, Session, type CompletionResult, type Llm } from "pocketllama";

const llm: Llm = await load("tales", { onProgress: ({ file, done, total }) => console.log(file, done / (total ?? 1)) });
for await (const piece of llm.complete("Once", { maxTokens: 8, topK: 1, stop: ["\n"], signal: AbortSignal.timeout(9) })) {
  piece.toUpperCase();
}
const result: CompletionResult = await llm.complete("Once").result();
result.usage.completionTokens.toFixed();
const ids: number[] = await llm.tokenize("Once", { bos: true, special: false });
const text: string = await llm.detokenize(ids);
(await llm.embed(text, { pooling: "mean", normalize: true })).map((value) => value * 2);
await llm.close();
async function scoped() {
  await using scopedLlm = await load();
  return scopedLlm.model;
}
await scoped();

const error = new PocketllamaError("no", { code: -32021 });
error.kind.length + error.exitCode + (error.remedy ?? "").length;

// @ts-expect-error: an option that does not exist
llm.complete("Once", { max_tokens: 8 });
// @ts-expect-error: a prompt is a string
llm.complete(42);
// @ts-expect-error: a misspelt option
await load("tales", { onprogress() {} });

const chatted: CompletionResult = await llm.chat([{ role: "user", content: "Hi" }], { tools: [{ type: "function", function: { name: "clock" } }], overflow: "forget" }).result();
chatted.message?.role;
const session = new Session(llm, { system: "Be brief.", maxTokens: 9 });
for await (const piece of session.say("Hi")) piece.trim();
session.messages.push({ role: "tool", content: "42", tool_call_id: "1" });
await session.save("talk.json");
(await Session.load("talk.json", llm, { seed: 1 })).reset();
// @ts-expect-error: an option that does not exist
llm.chat([], { overflow: "shrug" });
