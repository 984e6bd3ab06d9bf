/// <reference lib="es2022" />
/// <reference lib="esnext.disposable" />

/** How far a download is, in bytes. */
export interface DownloadProgress {
  file: string;
  done: number;
  /** null where the server does not say. */
  total: number | null;
  /** What is waited for while no byte comes. */
  note?: string;
}

export interface LoadOptions {
  /** Told about the download of a model that is not on this machine yet. */
  onProgress?: (progress: DownloadProgress) => void;
  /** Told the steps of the first run, which makes the private Python environment. */
  onSetup?: (step: string) => void;
  /** Given what the runner writes to its standard error, in pieces. */
  onStderr?: (text: string) => void;
  /** Variables for the runner, beside those of this process. */
  env?: Record<string, string | undefined>;
  /** The runner's working folder. */
  cwd?: string;
  /** A Python that has pocketllama's requirements, to be used in place of the managed environment. */
  python?: string;
  /** The command of the pocketllama CLI, to be used in place of everything else. */
  command?: string[];
  /** true: use no network, and fail where it would be needed. */
  offline?: boolean;
  /** The context length in tokens; the model's own, up to 4096, if it is left out. */
  contextLength?: number;
  /** What the cache holds: "q8_0" takes little more than half of the memory of "f16". */
  kvType?: "f16" | "f32" | "q8_0";
  /** false: read the file into memory, so that it may change. */
  mmap?: boolean;
  /** The chat template in place of the model's own: a built-in one's name ("chatml") or a Jinja file. */
  template?: string;
  /** A smaller model of the same vocabulary, whose guesses make this one faster. It is fetched as the model is. */
  draft?: string;
  /** Aborts the loading. It has no part in what follows. */
  signal?: AbortSignal;
}

/** What is left out is decided by the runner; docs/protocol.md lists its defaults. */
export interface CompleteOptions {
  /** The most new tokens. */
  maxTokens?: number;
  /** 0 is greedy: one prompt, one text. */
  temperature?: number;
  /** Choose among the K likeliest tokens; 0 for all. */
  topK?: number;
  /** Choose among the likeliest tokens that together have this probability, in (0, 1]. */
  topP?: number;
  /** 1 for none. */
  repetitionPenalty?: number;
  /** How many tokens back the repetition penalty looks. */
  lastNTokens?: number;
  /** One seed, one text. */
  seed?: number;
  /** End before this text, or the first of these. */
  stop?: string | string[];
  /** Keep what is at least this fraction as likely as the likeliest; 0 for all. */
  minP?: number;
  /** Locally typical sampling; 1 for off. */
  typicalP?: number;
  /** Taken from a token's logit for each time that it was among the last. */
  frequencyPenalty?: number;
  /** … once, if it was. */
  presencePenalty?: number;
  /** How often all likely tokens but the last are left out, where likely means at least xtcThreshold. */
  xtcProbability?: number;
  xtcThreshold?: number;
  /** Penalty for going on with a repetition, growing by dryBase with each token of it beyond dryAllowedLength; 0 for off. */
  dryMultiplier?: number;
  dryBase?: number;
  dryAllowedLength?: number;
  /** 2: keep the surprise near mirostatTau, in place of topK, topP and the like. */
  mirostat?: 0 | 2;
  mirostatTau?: number;
  mirostatEta?: number;
  /** What is added to the logits of tokens, by their ids. */
  logitBias?: Record<number, number>;
  /** Where the context is full, forget its older half and go on, in place of ending. */
  contextShift?: boolean;
  /** How many tokens at the start of the context are not forgotten then. */
  keep?: number;
  /**
   * "ngram": guess tokens ahead from the text so far, and verify them. The text is the same, and comes faster where it
   * repeats what is in the prompt. "draft": let the model's draft guess, which is what "auto" means if it has one.
   */
  speculate?: "auto" | "off" | "ngram" | "draft";
  /** Stops the completion; what waits for it rejects with the signal's reason (an AbortError by default). */
  signal?: AbortSignal;
}

/** One message of a conversation, as OpenAI has it. Further members are passed to the model's chat template. */
export interface Message {
  role: "system" | "user" | "assistant" | "tool" | (string & {});
  content?: string | { type: "text"; text: string }[] | null;
  /** What an assistant called; `arguments` may be an object, or its JSON. */
  tool_calls?: { id?: string; type?: "function"; function: { name: string; arguments: string | Record<string, unknown> } }[];
  [member: string]: unknown;
}

/** A function that a model may call, as OpenAI has it: `parameters` is the JSON schema of its arguments. */
export interface Tool {
  type: "function";
  function: { name: string; description?: string; parameters?: Record<string, unknown>; strict?: boolean };
}

export interface ChatOptions extends CompleteOptions {
  /**
   * Functions that the model may call. A call is one of a function that exists, with arguments of its schema, token by token; the result's
   * `message.tool_calls` has them. This and `schema` need the layer "serve" (`pocketllama setup --with serve`): an EngineError says so.
   */
  tools?: Tool[];
  /** "auto" (the default): it may call; "none"; "required": nothing but calls; or the function that it must call. */
  toolChoice?: "auto" | "none" | "required" | { type: "function"; function: { name: string } };
  /** false: at most one call in an answer. */
  parallelToolCalls?: boolean;
  /** A JSON schema that the answer follows, token by token, unless it calls a tool. */
  schema?: Record<string, unknown>;
  /** A built-in chat template in place of the model's own: alpaca, vicuna, llama-2, llama-3, chatml, mistral, gemma, phi-3, zephyr. */
  template?: string;
  /** Variables for the template, such as { enable_thinking: false }. */
  templateVariables?: Record<string, unknown>;
  /** What happens where the conversation does not fit the context: an error, or the oldest messages are left out. */
  overflow?: "error" | "forget";
}

export interface SessionOptions extends ChatOptions {
  /** What the model is told before the conversation. */
  system?: string;
}

export interface TokenizeOptions {
  /** Begin with the beginning-of-sequence token. */
  bos?: boolean;
  /** The names of control tokens in the text stand for them; text from outside must never be given this. */
  special?: boolean;
  signal?: AbortSignal;
}

export interface EmbedOptions {
  /** The final hidden state of the last token (by default), or the mean of all. */
  pooling?: "last" | "mean";
  /** Of length 1. */
  normalize?: boolean;
  signal?: AbortSignal;
}

export interface CompletionResult {
  text: string;
  finishReason: "stop" | "length" | "cancelled";
  usage: { promptTokens: number; completionTokens: number };
  /** As in docs/protocol.md, with camelCase names; what ends in Ms is in milliseconds. */
  timings: Record<string, number>;
  model: string;
  /** Of a chat: the answer as the conversation's next message. */
  message?: Message;
  /** Of a chat with overflow "forget": how many messages were left out. */
  forgotten?: number;
}

/**
 * A completion to be read in one of three ways. The request is sent at the first reading.
 * Leaving the loop early cancels the request; `result()` then has what there was, and "cancelled".
 */
export interface Completion extends AsyncIterable<string> {
  [Symbol.asyncIterator](): AsyncGenerator<string, void, unknown>;
  /** The whole text. */
  text(): Promise<string>;
  result(): Promise<CompletionResult>;
}

/**
 * One model in a process of its own. If that process dies, pending calls reject with a PocketllamaError and the next
 * call starts a new one. An idle model does not keep the program running.
 */
export interface Llm {
  /** The name that load() was given. */
  readonly model: string;
  /** The process id of the runner. */
  readonly pid: number | undefined;
  complete(prompt: string, options?: CompleteOptions): Completion;
  /** The answer to a conversation. What the runner's cache holds of it is not evaluated again. */
  chat(messages: Message[], options?: ChatOptions): Completion;
  tokenize(text: string, options?: TokenizeOptions): Promise<number[]>;
  detokenize(tokens: number[]): Promise<string>;
  embed(input: string | number[], options?: EmbedOptions): Promise<number[]>;
  /** What the runner has loaded and how busy it is; as in docs/protocol.md, with camelCase names. */
  status(): Promise<Record<string, any>>;
  /** The models on this machine; as in docs/protocol.md, with camelCase names. */
  models(): Promise<Record<string, any>[]>;
  /** End the process. Pending calls reject. Closing twice is fine. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Start a runner for a model: an embedded one ("tales"), an alias, hf:owner/repo[:quant], an https URL or a path. What
 * is not on this machine is fetched. The first call ever also makes the private Python environment.
 */
export function load(model?: string, options?: LoadOptions): Promise<Llm>;

/**
 * A conversation with a model: it keeps the messages, and each turn evaluates only what is new.
 * If a turn fails, neither its message nor an answer is kept.
 */
export class Session {
  constructor(llm: Llm, options?: SessionOptions);
  readonly llm: Llm;
  /** What holds for every turn. */
  options: ChatOptions;
  /** The whole conversation; it may be read and changed between two turns. */
  messages: Message[];
  /** What the model is told before the conversation. */
  system: string | undefined;
  /** The answer to one more message of the user's, or to a whole message, such as a tool's. */
  say(content: string | Message, options?: ChatOptions): Completion;
  /** Another answer in place of the last. */
  retry(options?: ChatOptions): Completion;
  /** Begin anew, with the same system. */
  reset(): void;
  /** Write the conversation to a JSON file, which Python and `pocketllama chat` read too. */
  save(path: string): Promise<void>;
  /** A conversation that was saved, to go on; `options` come before the saved ones. */
  static load(path: string, llm: Llm, options?: ChatOptions): Promise<Session>;
}

/** What goes wrong, with its cause and, where there is one, the remedy. */
export class PocketllamaError extends Error {
  constructor(message: string, details?: { code?: number; remedy?: string; data?: object; cause?: unknown });
  /** The JSON-RPC code; docs/protocol.md lists them. */
  readonly code: number;
  /** The code's name, such as "ModelNotFound". */
  readonly kind: string;
  /** What to do about it. */
  readonly remedy: string | undefined;
  readonly data: Record<string, any>;
  /** What the command line exits with for it. */
  readonly exitCode: number;
  /** The message and the remedy, as a terminal shows them. */
  describe(): string;
}
