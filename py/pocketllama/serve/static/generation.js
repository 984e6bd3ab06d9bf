// One answer under way: from the request to its last token, through a busy server, a stop or a failure.

import { ApiError } from "./api.js";
import { toRequest, toText } from "./conversation.js";
import { describe } from "./failures.js";
import { toRequest as optionsOf } from "./settings.js";

/** How often a busy server is asked again, before the reader has to. */
const ATTEMPTS = 4;
/** The longest pause between two of these, in seconds, whatever the server says. */
const LONGEST_PAUSE = 30;

/**
 * @typedef {import("./conversation.js").Message} Message
 * @typedef {{
 *   grew: () => void,
 *   waits: (why: string) => void,
 *   ended: (error?: unknown) => void,
 * }} Listener `waits`: for what the reader waits, in words; empty: for nothing any more
 */

export class Generation {
  #controller = new AbortController();
  #thinks = new Thinking();

  /**
   * @param {{
   *   api: import("./api.js").Api, model: import("./api.js").Model, settings: import("./settings.js").Settings,
   *   conversation: import("./conversation.js").Conversation, message: Message,
   * }} what `message`: an empty answer, the head of the conversation; it is filled
   * @param {Listener} listener
   */
  constructor({ api, model, settings, conversation, message }, listener) {
    this.api = api;
    this.model = model;
    this.conversation = conversation;
    this.message = message;
    this.listener = listener;
    const path = conversation.path().slice(0, -1);
    // A text that is continued has no instructions: they would become part of it.
    const asked = model.completes ? { prompt: toText(path) } : { messages: toRequest(path, settings.system) };
    this.request = { model, asked, options: optionsOf(settings) };
  }

  stop() {
    this.#controller.abort();
  }

  /** Fill the message; every end is said in it, and nothing is thrown. */
  async run() {
    const { message, listener } = this;
    let error;
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          await this.#stream();
          break;
        } catch (e) {
          if (!(e instanceof ApiError) || e.kind !== "busy" || attempt === ATTEMPTS || message.content) throw e;
          await this.#pause(Math.min(e.retryAfter ?? 2 ** attempt, LONGEST_PAUSE));
        }
      }
      message.end ??= "stop";
    } catch (e) {
      if (this.#controller.signal.aborted) message.end = "stopped";
      else {
        message.end = "error";
        message.failure = describe((error = e));
      }
    }
    listener.ended(error);
  }

  async #stream() {
    const { message, listener } = this;
    const { signal } = this.#controller;
    const asked = performance.now();
    let first = 0;
    let last = 0;
    /** @type {number | undefined} */
    let rate;
    const say = () => {
      const seconds = Math.floor((performance.now() - asked) / 1000);
      listener.waits(seconds < 3 ? "Reading…" : `Reading… ${seconds} s`);
    };
    say();
    const clock = setInterval(say, 1000);
    try {
      for await (const part of this.api.answer(this.request, signal)) {
        if (part.text || part.thought) {
          last = performance.now();
          if (!first) {
            first = last;
            clearInterval(clock);
            listener.waits("");
          }
          this.#thinks.take(part, message);
          listener.grew();
        }
        if (part.end) message.end = part.end;
        rate = part.rate ?? rate;
        if (part.usage) message.stats = this.#stats(part.usage, rate, (last - first) / 1000);
      }
    } finally {
      clearInterval(clock);
    }
  }

  /**
   * @param {import("./api.js").Usage} usage
   * @param {number | undefined} rate what the server says, in tokens/s
   * @param {number} seconds between the first and the last piece
   * @returns {import("./conversation.js").Stats}
   */
  #stats({ prompt, completion }, rate, seconds) {
    // The first token is there when the clock starts.
    if (rate === undefined && completion !== undefined && completion > 1 && seconds > 0)
      rate = (completion - 1) / seconds;
    /** @type {import("./conversation.js").Stats} */
    const stats = {};
    for (const [key, value] of Object.entries({ prompt, completion, rate, context: this.model.context })) {
      if (value !== undefined) stats[/** @type {keyof typeof stats} */ (key)] = value;
    }
    return stats;
  }

  /** @param {number} seconds */
  #pause(seconds) {
    const { signal } = this.#controller;
    const until = performance.now() + seconds * 1000;
    return new Promise((resolve, reject) => {
      const tick = () => {
        if (signal.aborted) return reject(signal.reason);
        const left = until - performance.now();
        if (left <= 0) return resolve(undefined);
        this.listener.waits(`The server is busy; asking again in ${Math.ceil(left / 1000)} s`);
        timer = setTimeout(tick, Math.min(left, 1000));
      };
      let timer = setTimeout(tick);
      signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
    });
  }
}

const OPEN = "<think>";
const CLOSE = "</think>";

/** Tells a model's thoughts from its answer, where the server has not: they stand first, between two tags. */
export class Thinking {
  #start = "";
  /** @type {"start" | "thought" | "answer"} */
  #state = "start";

  /**
   * @param {{ text?: string, thought?: string }} part
   * @param {{ content: string, thought?: string }} message
   */
  take({ text = "", thought = "" }, message) {
    if (thought) message.thought = (message.thought ?? "") + thought;
    if (this.#state === "start") {
      this.#start += text;
      const begin = this.#start.trimStart();
      if (begin.startsWith(OPEN)) {
        this.#state = "thought";
        text = begin.slice(OPEN.length);
      } else if (OPEN.startsWith(begin)) {
        message.content = this.#start; // it may still become one; until then, it is what was said
        return;
      } else {
        this.#state = "answer";
        message.content = "";
        text = this.#start;
      }
      if (this.#state === "thought") message.content = "";
    }
    if (this.#state === "answer") {
      message.content += text;
      return;
    }
    const all = (message.thought ?? "") + text;
    const end = all.indexOf(CLOSE, Math.max(0, (message.thought ?? "").length - CLOSE.length));
    if (end < 0) message.thought = all;
    else {
      this.#state = "answer";
      message.thought = all.slice(0, end);
      message.content = all.slice(end + CLOSE.length).trimStart();
    }
  }
}
