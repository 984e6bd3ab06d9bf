// One completion: pieces as they come, or the whole.

import { camel } from "./names.js";

/** @typedef {import("./rpc.js").Request} Request */

export class Completion {
  #open;
  #signal;
  /** Set once the request has been sent, by whichever way of reading came first. @type {Promise<any> | null} */
  #answer = null;
  #iterated = false;

  /**
   * @param {(stream: boolean, onProgress?: (value: { text: string }) => void) => Promise<Request>} open sends the request
   * @param {AbortSignal} [signal]
   */
  constructor(open, signal) {
    this.#open = open;
    this.#signal = signal;
  }

  /**
   * Everything that is known at the end; after an early end of the loop, what there was until then.
   * @returns {Promise<import("./index.cjs").CompletionResult>}
   */
  async result() {
    this.#answer ??= this.#open(false).then(({ answer }) => answer);
    const { text, finish_reason, usage, timings, model, message, forgotten } = await this.#answer;
    const chatted = message === undefined ? {} : { message, forgotten };
    return { text, finishReason: finish_reason, usage: camel(usage), timings: camel(timings), model, ...chatted };
  }

  /** The whole text. */
  async text() {
    return (await this.result()).text;
  }

  /** Pieces of text as they are generated. Leaving the loop cancels the request. */
  async *[Symbol.asyncIterator]() {
    if (this.#iterated) throw new TypeError("A completion can be iterated once; call complete() again.");
    this.#iterated = true;
    if (this.#answer) {
      yield await this.text();
      return;
    }
    // Bounded by what the request may generate: a slow reader costs its own text, and never stops the runner.
    /** @type {string[]} */
    const pieces = [];
    let wake = () => {};
    const opening = this.#open(true, ({ text }) => {
      pieces.push(text);
      wake();
    });
    this.#answer = opening.then(({ answer }) => answer);
    let ended = false;
    // A failure is thrown below, or seen by whoever asks for the result; it is not unhandled.
    this.#answer.catch(() => {}).finally(() => {
      ended = true;
      wake();
    });
    try {
      while (!this.#signal?.aborted && (pieces.length || !ended)) {
        if (pieces.length) yield /** @type {string} */ (pieces.shift());
        else await new Promise((/** @type {(value?: unknown) => void} */ resolve) => (wake = resolve));
      }
      if (pieces.length) this.#signal?.throwIfAborted();
      await this.#answer;
    } finally {
      if (!ended) (await opening).cancel();
    }
  }
}
