// What a program gets from load(): one model, served by one runner that is started again if it dies.

import { Completion } from "./completion.js";
import { camel, checkOptions, snake } from "./names.js";
import { CODES, PocketllamaError } from "./errors.cjs";
import { Runner, closedError } from "./runner.js";

const LOAD_OPTIONS = ["onProgress", "onSetup", "onStderr", "env", "cwd", "python", "command", "offline", "signal", "contextLength", "kvType", "mmap", "template", "draft"];
// How tokens are chosen and when to end, as the runner has it; a test compares the two.
const SAMPLING = [
  "maxTokens", "temperature", "topK", "topP", "repetitionPenalty", "lastNTokens", "seed", "stop", "minP", "typicalP",
  "frequencyPenalty", "presencePenalty", "xtcProbability", "xtcThreshold", "dryMultiplier", "dryBase", "dryAllowedLength",
  "mirostat", "mirostatTau", "mirostatEta", "logitBias", "contextShift", "keep", "speculate",
];
const COMPLETE_OPTIONS = [...SAMPLING, "signal"];
const CHAT_OPTIONS = [...COMPLETE_OPTIONS, "tools", "toolChoice", "parallelToolCalls", "schema", "template", "templateVariables", "overflow"];

/**
 * Start a runner for a model and wait until the model is on this machine; a remote one is fetched.
 * @param {string} [model]
 * @param {import("./index.cjs").LoadOptions} [options]
 * @returns {Promise<Llm>}
 */
export async function load(model = "tales", options = {}) {
  if (typeof model !== "string" || !model) throw new TypeError(`load() takes the name of a model, not ${describe(model)}.`);
  checkOptions("load", options, LOAD_OPTIONS);
  const llm = new Llm(model, options);
  try {
    await llm.prepare(options);
    return llm;
  } catch (error) {
    await llm.close();
    throw error;
  }
}

export class Llm {
  #options;
  /** The runner, or its start; null before the first and after a death. @type {Promise<Runner> | null} */
  #runner = null;
  #closing = new AbortController();

  /** The name that load() was given. @readonly */
  model;

  /**
   * @param {string} model
   * @param {import("./index.cjs").LoadOptions} options
   */
  constructor(model, options) {
    this.model = model;
    this.#options = options;
  }

  /**
   * @internal
   * @param {Pick<import("./index.cjs").LoadOptions, "onProgress" | "signal">} options
   */
  async prepare({ onProgress, signal }) {
    const { draft } = this.#options;
    for (const model of draft === undefined ? [this.model] : [this.model, draft]) {
      try {
        await this.#call("models/show", { model }, { signal });
      } catch (error) {
        if (!(error instanceof PocketllamaError) || error.code !== CODES.ModelNotFound) throw error;
        await this.#call("models/pull", { model }, { signal, onProgress });
      }
    }
  }

  /**
   * Continue a text. The request is sent when the completion is first read.
   * @param {string} prompt
   * @param {import("./index.cjs").CompleteOptions} [options]
   */
  complete(prompt, options = {}) {
    if (typeof prompt !== "string") throw new TypeError(`complete() takes a prompt, not ${describe(prompt)}.`);
    checkOptions("complete", options, COMPLETE_OPTIONS);
    return this.#completion("complete", { prompt, ...this.#sampling(options) }, options.signal);
  }

  /**
   * Answer a conversation. The request is sent when the completion is first read.
   * @param {import("./index.cjs").Message[]} messages
   * @param {import("./index.cjs").ChatOptions} [options]
   */
  chat(messages, options = {}) {
    if (!Array.isArray(messages)) throw new TypeError(`chat() takes an array of messages, not ${describe(messages)}.`);
    checkOptions("chat", options, CHAT_OPTIONS);
    const { tools, toolChoice, parallelToolCalls, schema, template, templateVariables, overflow } = options;
    const more = { tools, tool_choice: toolChoice, parallel_tool_calls: parallelToolCalls, schema, template, template_variables: templateVariables, overflow };
    // As they are now: a conversation that goes on must not change a request that waits.
    return this.#completion("chat", { messages: structuredClone(messages), ...this.#sampling(options), ...more }, options.signal);
  }

  /** What is undefined is left out by JSON, and the runner's default holds. @param {import("./index.cjs").CompleteOptions} options */
  #sampling(options) {
    const named = /** @type {Record<string, unknown>} */ (options);
    const sampling = Object.fromEntries(SAMPLING.map((name) => [snake(name), named[name]]));
    return { model: this.model, ...sampling, stop: typeof options.stop === "string" ? [options.stop] : options.stop };
  }

  /**
   * @param {string} method
   * @param {object} params
   * @param {AbortSignal} [signal]
   */
  #completion(method, params, signal) {
    return new Completion(async (stream, onProgress) => {
      const runner = await this.#ready(signal);
      return runner.request(method, { ...params, stream }, { onProgress, signal });
    }, signal);
  }

  /**
   * @param {string} text
   * @param {import("./index.cjs").TokenizeOptions} [options]
   * @returns {Promise<number[]>}
   */
  async tokenize(text, options = {}) {
    checkOptions("tokenize", options, ["bos", "special", "signal"]);
    const { bos, special, signal } = options;
    return (await this.#call("tokenize", { text, bos, special, model: this.model }, { signal })).tokens;
  }

  /**
   * @param {number[]} tokens
   * @returns {Promise<string>}
   */
  async detokenize(tokens) {
    return (await this.#call("detokenize", { tokens, model: this.model })).text;
  }

  /**
   * @param {string | number[]} input
   * @param {import("./index.cjs").EmbedOptions} [options]
   * @returns {Promise<number[]>}
   */
  async embed(input, options = {}) {
    checkOptions("embed", options, ["pooling", "normalize", "signal"]);
    const { pooling, normalize, signal } = options;
    return (await this.#call("embed", { input, pooling, normalize, model: this.model }, { signal })).embedding;
  }

  /** @returns {Promise<Record<string, any>>} */
  async status() {
    return camel(await this.#call("status"));
  }

  /** @returns {Promise<Record<string, any>[]>} */
  async models() {
    return camel((await this.#call("models/list")).models);
  }

  /** The runner's process id, once it has started. */
  pid = /** @type {number | undefined} */ (undefined);

  /** End the runner; pending calls reject. Resolves when the process is gone. Closing twice is fine. */
  async close() {
    if (!this.#closing.signal.aborted) this.#closing.abort(closedError());
    const runner = await this.#runner?.catch(() => null);
    await runner?.close();
    this.pid = undefined;
  }

  /**
   * @param {string} method
   * @param {object} [params]
   * @param {{ signal?: AbortSignal, onProgress?: (value: any) => void }} [options]
   */
  async #call(method, params, options) {
    const runner = await this.#ready(options?.signal);
    return runner.request(method, params, options).answer;
  }

  /**
   * The runner, started if there is none. A caller that gives up does not stop the start: others may wait for it.
   * @param {AbortSignal} [signal]
   * @returns {Promise<Runner>}
   */
  async #ready(signal) {
    for (;;) {
      this.#closing.signal.throwIfAborted();
      signal?.throwIfAborted();
      this.#runner ??= this.#start();
      const starting = this.#runner;
      const forget = () => {
        if (this.#runner === starting) this.#runner = null;
      };
      starting.catch(forget);
      const runner = await abortable(starting, signal);
      if (runner.alive) return runner;
      forget();
    }
  }

  async #start() {
    const { onSetup, onStderr, cwd, contextLength, kvType, mmap, template, draft } = this.#options;
    const loading = [
      ...(contextLength === undefined ? [] : [`--ctx=${contextLength}`]), ...(kvType === undefined ? [] : [`--kv-type=${kvType}`]),
      ...(mmap === false ? ["--no-mmap"] : []), ...(template === undefined ? [] : [`--template=${template}`]),
      ...(draft === undefined ? [] : [`--draft=${draft}`]),
    ];
    const { runnerCommand } = await import("./command.js");
    const { command, env } = await runnerCommand(this.#options, { onSetup, signal: this.#closing.signal });
    const runner = await Runner.start({ command: [...command, "rpc", "-m", this.model, ...loading], env, cwd, onStderr, signal: this.#closing.signal });
    this.pid = runner.pid;
    return runner;
  }
}

// Where the language has `await using`, a model takes part in it.
if (Symbol.asyncDispose) Object.defineProperty(Llm.prototype, Symbol.asyncDispose, { value: Llm.prototype.close, configurable: true, writable: true });

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
function abortable(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

const describe = (/** @type {unknown} */ value) => (value === null ? "null" : value === "" ? "an empty string" : `a value of type ${typeof value}`);
