// JSON-RPC 2.0, the client's side: framing, ids, progress, cancellation. Knows bytes, but no process and no file.

import { CODES, PocketllamaError } from "./errors.cjs";

const NEWLINE = 10;
const LONGEST_LINE = 64 * 2 ** 20; // bytes; an embedding or a token list of the longest prompt is far below it

/**
 * @typedef {object} Pending
 * @property {(result: any) => void} resolve
 * @property {(error: unknown) => void} reject
 * @property {((value: any) => void) | undefined} onProgress
 *
 * @typedef {object} Request
 * @property {Promise<any>} answer
 * @property {() => void} cancel ask the peer to end it early and answer with what it has
 */

export class RpcConnection {
  #write;
  #onBusy;
  #onBroken;
  #longest;
  #nextId = 1;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** The beginning of a line whose end has not come yet. @type {Buffer[]} */
  #parts = [];
  #partsLength = 0;
  /** @type {Error | null} */
  #ended = null;

  /** The longest message that the peer takes, in bytes; `initialize` tells it. */
  maxMessageBytes = Infinity;

  /**
   * @param {object} peer
   * @param {(bytes: Buffer) => void} peer.write
   * @param {(busy: boolean) => void} [peer.onBusy] called when the first request begins to wait, and when none does any more
   * @param {(error: PocketllamaError) => void} [peer.onBroken] called when the peer does not speak the protocol
   * @param {number} [peer.longestLine]
   */
  constructor({ write, onBusy = () => {}, onBroken = () => {}, longestLine = LONGEST_LINE }) {
    this.#write = write;
    this.#onBusy = onBusy;
    this.#onBroken = onBroken;
    this.#longest = longestLine;
  }

  /**
   * Send a request.
   * @param {string} method
   * @param {object} [params]
   * @param {{ onProgress?: (value: any) => void, signal?: AbortSignal }} [options] an aborted signal rejects the answer with
   *   its reason at once, and tells the peer that nobody waits for it any more
   * @returns {Request}
   */
  request(method, params = {}, { onProgress, signal } = {}) {
    if (this.#ended) return { answer: Promise.reject(this.#ended), cancel() {} };
    if (signal?.aborted) return { answer: Promise.reject(signal.reason), cancel() {} };
    const id = this.#nextId++;
    const answer = new Promise((resolve, reject) => {
      const bytes = encode({ jsonrpc: "2.0", id, method, params });
      if (bytes.length > this.maxMessageBytes) {
        throw new PocketllamaError(`The request has ${bytes.length} bytes; the runner takes ${this.maxMessageBytes}.`, {
          code: CODES.MessageTooLarge,
          data: { limit_bytes: this.maxMessageBytes },
        });
      }
      const forget = () => {
        signal?.removeEventListener("abort", onAbort);
        if (this.#pending.delete(id) && !this.#pending.size) this.#onBusy(false);
      };
      const onAbort = () => {
        forget();
        this.notify("notifications/cancelled", { requestId: id });
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      if (!this.#pending.size) this.#onBusy(true);
      this.#pending.set(id, {
        resolve: (result) => (forget(), resolve(result)),
        reject: (error) => (forget(), reject(error)),
        onProgress,
      });
      this.#write(bytes);
    });
    return {
      answer,
      cancel: () => {
        if (this.#pending.has(id)) this.notify("$/cancelRequest", { id });
      },
    };
  }

  /**
   * @param {string} method
   * @param {object} [params]
   */
  notify(method, params) {
    if (!this.#ended) this.#write(encode({ jsonrpc: "2.0", method, params }));
  }

  /**
   * Take bytes from the peer, cut anywhere.
   * @param {Buffer} chunk
   */
  receive(chunk) {
    let start = 0;
    for (let end; !this.#ended && (end = chunk.indexOf(NEWLINE, start)) >= 0; start = end + 1) {
      const part = chunk.subarray(start, end);
      if (this.#partsLength + part.length > this.#longest) return this.#tooLong();
      const line = this.#parts.length ? Buffer.concat([...this.#parts, part]) : part;
      this.#parts = [];
      this.#partsLength = 0;
      if (line.length) this.#take(line);
    }
    if (this.#ended || start === chunk.length) return;
    this.#parts.push(chunk.subarray(start));
    this.#partsLength += chunk.length - start;
    if (this.#partsLength > this.#longest) this.#tooLong();
  }

  /**
   * Reject what waits, and whatever is asked later. The first reason stays.
   * @param {Error} reason
   */
  fail(reason) {
    if (this.#ended) return;
    this.#ended = reason;
    this.#parts = [];
    for (const pending of [...this.#pending.values()]) pending.reject(reason);
  }

  /** @param {Buffer} line */
  #take(line) {
    let message;
    try {
      // The whole line is decoded at once: a chunk may end in the middle of a character.
      message = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(line));
    } catch {
      return this.#broken(`it wrote what is not JSON: ${JSON.stringify(line.toString("latin1", 0, 200))}`);
    }
    if (message?.method === "$/progress") return this.#progress(message.params);
    if (message?.method !== undefined) {
      // A request would have to be answered; the protocol has none from this side, and notifications may be ignored.
      if (message.id !== undefined) this.#write(encode({ jsonrpc: "2.0", id: message.id, error: { code: CODES.MethodNotFound, message: "The client has no methods." } }));
      return;
    }
    if (message?.id === null && message.error) return this.#broken(`it could not read what was sent: ${message.error.message}`);
    if (typeof message?.id !== "number") return this.#broken(`it wrote what is no JSON-RPC message: ${line.toString("utf8", 0, 200)}`);
    const pending = this.#pending.get(message.id);
    if (!pending) return; // the answer crossed its cancellation
    if (message.error) pending.reject(asError(message.error));
    else pending.resolve(message.result);
  }

  /** @param {any} params */
  #progress(params) {
    const pending = this.#pending.get(params?.token);
    try {
      pending?.onProgress?.(params.value);
    } catch (error) {
      // The caller's own function failed: that ends its request, and nobody else's.
      this.notify("notifications/cancelled", { requestId: params.token });
      pending?.reject(error);
    }
  }

  #tooLong() {
    this.#broken(`it wrote a line of more than ${this.#longest} bytes`);
  }

  /** @param {string} how */
  #broken(how) {
    const error = new PocketllamaError(`The runner does not speak the protocol: ${how}`, { code: CODES.RunnerError });
    this.fail(error);
    this.#onBroken(error);
  }
}

/** @param {object} message */
const encode = (message) => Buffer.from(`${JSON.stringify(message)}\n`);

/** @param {{ code?: unknown, message?: unknown, data?: any }} error */
function asError({ code, message, data }) {
  const { remedy, ...rest } = data && typeof data === "object" ? data : {};
  return new PocketllamaError(String(message ?? "unknown error"), { code: typeof code === "number" ? code : undefined, remedy, data: rest });
}
