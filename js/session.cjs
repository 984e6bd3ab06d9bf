"use strict";
// A conversation that goes on: its messages, and what was said last. The runner's cache keeps what it has evaluated of it.

const { readFile, rename, rm, writeFile } = require("node:fs/promises");
const { CODES, PocketllamaError } = require("./errors.cjs");

const FORMAT = "pocketllama-session";
const VERSION = 1;

/**
 * @typedef {import("./index.cjs").Llm} Llm
 * @typedef {import("./index.cjs").Message} Message
 * @typedef {import("./index.cjs").ChatOptions} ChatOptions
 * @typedef {import("./index.cjs").Completion} Completion
 */

class Session {
  /**
   * @param {Llm} llm
   * @param {import("./index.cjs").SessionOptions} [options]
   */
  constructor(llm, { system, ...options } = {}) {
    if (typeof llm?.chat !== "function") throw new TypeError("A Session takes what load() gives.");
    this.llm = llm;
    /** What holds for every turn. @type {ChatOptions} */
    this.options = options;
    /** The whole conversation; it may be read and changed between two turns. @type {Message[]} */
    this.messages = [];
    this.system = system;
  }

  /** What the model is told before the conversation. @type {string | undefined} */
  get system() {
    const [first] = this.messages;
    return first?.role === "system" ? /** @type {string} */ (first.content) : undefined;
  }

  set system(text) {
    if (this.messages[0]?.role === "system") this.messages.shift();
    if (text) this.messages.unshift({ role: "system", content: text });
  }

  /**
   * The answer to one more message. Both are in `messages` when it has ended, or was left; if it fails, or was left before its first word, neither is.
   * @param {string | Message} content
   * @param {ChatOptions} [options]
   */
  say(content, options) {
    const message = typeof content === "string" ? { role: "user", content } : content;
    return this.#answer([...this.messages, message], options);
  }

  /**
   * Another answer in place of the last.
   * @param {ChatOptions} [options]
   */
  retry(options) {
    const kept = [...this.messages];
    while (kept.at(-1)?.role === "assistant") kept.pop();
    if (kept.length === this.messages.length) throw new PocketllamaError("There is no answer yet to be given once more.", { code: CODES.UsageError });
    return this.#answer(kept, options);
  }

  /** Begin anew, with the same system. */
  reset() {
    this.messages = this.messages.filter(({ role }, index) => index === 0 && role === "system");
  }

  /**
   * Write the conversation to a JSON file, replaced as a whole, which Python's Session and `pocketllama chat` read too.
   * @param {string} path
   */
  async save(path) {
    const { signal, ...options } = this.options;
    const snake = Object.fromEntries(Object.entries(options).map(([key, value]) => [key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]));
    const value = { format: FORMAT, version: VERSION, model: this.llm.model, options: snake, messages: this.messages };
    const draft = `${path}.${process.pid}.tmp`;
    try {
      await writeFile(draft, `${JSON.stringify(value, null, 1)}\n`);
      await rename(draft, path);
    } catch (cause) {
      await rm(draft, { force: true });
      throw new PocketllamaError(`The conversation could not be saved to ${path}: ${/** @type {Error} */ (cause).message}`, { code: CODES.StorageError, cause });
    }
  }

  /**
   * A conversation that was saved, to go on with `llm`; `options` come before the saved ones.
   * @param {string} path
   * @param {Llm} llm
   * @param {ChatOptions} [options]
   */
  static async load(path, llm, options) {
    let text;
    try {
      text = await readFile(path, "utf8");
    } catch (cause) {
      throw new PocketllamaError(`The conversation ${path} cannot be read: ${/** @type {Error} */ (cause).message}`, { code: CODES.StorageError, cause });
    }
    const saved = parse(text);
    if (saved?.format !== FORMAT || saved.version !== VERSION || !Array.isArray(saved.messages)) {
      throw new PocketllamaError(`${path} is no saved conversation of pocketllama.`, { code: CODES.UsageError });
    }
    const camel = Object.fromEntries(Object.entries(saved.options ?? {}).map(([key, value]) => [key.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()), value]));
    const session = new Session(llm, { ...camel, ...options });
    session.messages = saved.messages;
    return session;
  }

  /**
   * @param {Message[]} messages
   * @param {ChatOptions} [options]
   * @returns {Completion}
   */
  #answer(messages, options) {
    const completion = this.llm.chat(messages, { ...this.options, ...options });
    const keep = async () => {
      const result = await completion.result();
      if (result.finishReason === "cancelled" && !result.text) return result; // as if nothing had been said
      this.messages = [...messages, result.message ?? { role: "assistant", content: result.text }];
      return result;
    };
    return {
      result: keep,
      text: async () => (await keep()).text,
      async *[Symbol.asyncIterator]() {
        let ended = false;
        try {
          yield* completion;
          ended = true;
          await keep();
        } catch (error) {
          ended = true; // the turn has failed, and is forgotten
          throw error;
        } finally {
          if (!ended) await keep(); // the loop was left: what there is of the answer stays
        }
      },
    };
  }
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

exports.Session = Session;
