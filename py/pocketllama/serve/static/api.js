// The server, through the API that OpenAI's clients speak: models, and answers as they come.

import { events } from "./sse.js";

/**
 * @typedef {"unreachable" | "key" | "busy" | "context" | "refused" | "server" | "broken"} Kind
 *   "broken": an answer's stream ended before the answer did
 * @typedef {{ id: string, context?: number, completes: boolean }} Model `context` in tokens; `completes`: it has no
 *   template for conversations, and continues a text instead
 * @typedef {{ role: string, content: string }[]} Messages
 * @typedef {{ prompt?: number, completion?: number }} Usage in tokens
 * @typedef {{ text?: string, thought?: string, end?: "stop" | "length", usage?: Usage, rate?: number }} Part of an
 *   answer; `rate` in tokens/s, if the server says it
 */

export class ApiError extends Error {
  /**
   * @param {Kind} kind
   * @param {string} message what the server said, if it said anything
   * @param {{ status?: number, retryAfter?: number, remedy?: string }} [details] `retryAfter` in seconds
   */
  constructor(kind, message, { status, retryAfter, remedy } = {}) {
    super(message);
    this.name = "ApiError";
    this.kind = kind;
    this.status = status;
    this.retryAfter = retryAfter;
    this.remedy = remedy;
  }
}

export class Api {
  /** @param {{ base: string | URL, key?: string }} options `base` ends with a slash */
  constructor({ base, key = "" }) {
    this.base = base;
    this.key = key;
  }

  /**
   * @param {AbortSignal} [signal]
   * @returns {Promise<Model[]>}
   */
  async models(signal) {
    const response = await this.#fetch("v1/models", { signal });
    const list = (await json(response))?.data;
    if (!Array.isArray(list)) throw new ApiError("refused", "The answer to /v1/models is not a list of models.");
    return list.filter((entry) => typeof entry?.id === "string").map(model);
  }

  /** Whether there is a server that answers at all. */
  async isUp() {
    try {
      await fetch(new URL("health", this.base), { cache: "no-store", signal: AbortSignal.timeout(5000) });
      return true;
    } catch {
      return false;
    }
  }

  /**
   * An answer, piece by piece. Leaving the loop or aborting the signal ends the request, and the server stops.
   * @param {{ model: Model, asked: { messages: Messages } | { prompt: string }, options?: object }} request
   * @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<Part, void, void>}
   * @throws {ApiError} or an AbortError
   */
  async *answer({ model, asked, options }, signal) {
    const response = await this.#fetch(model.completes ? "v1/completions" : "v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        ...options,
        model: model.id,
        ...asked,
        stream: true,
        stream_options: { include_usage: true },
      }),
      signal,
    });
    if (!response.body || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
      throw new ApiError("refused", "The server did not answer with a stream.");
    }
    let ended = false;
    try {
      for await (const data of events(response.body)) {
        if (data === "[DONE]") return;
        const part = partOf(data);
        if (part.end) ended = true;
        yield part;
      }
    } catch (error) {
      if (signal?.aborted || error instanceof ApiError) throw error;
      throw new ApiError("broken", "The connection was lost in the middle of the answer.");
    }
    // Some servers send no [DONE]; but without a reason to finish, the answer was cut.
    if (!ended) throw new ApiError("broken", "The server ended the stream in the middle of the answer.");
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   */
  async #fetch(path, init) {
    const headers = new Headers(init.headers);
    if (this.key) headers.set("authorization", `Bearer ${this.key}`);
    let response;
    try {
      response = await fetch(new URL(path, this.base), { ...init, headers, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new ApiError("unreachable", "The server does not answer.");
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

/**
 * @param {any} entry of /v1/models
 * @returns {Model}
 */
function model(entry) {
  const context = [entry.context_length, entry.max_model_len, entry.meta?.n_ctx].find(
    (n) => Number.isInteger(n) && n > 0,
  );
  return { id: entry.id, context, completes: entry.chat_template === null || entry.chat_template === false };
}

/** @param {Response} response */
async function json(response) {
  try {
    return await response.json();
  } catch {
    throw new ApiError("refused", `The answer to ${new URL(response.url).pathname} is not JSON.`);
  }
}

/**
 * The error that a response stands for.
 * @param {Response} response
 */
async function refusal(response) {
  const { status } = response;
  const body = await response.json().catch(() => undefined);
  const { message, code, remedy } = said(body?.error);
  const after = Number(response.headers.get("retry-after") ?? NaN);
  return new ApiError(kindOf(status, code), message || `The server answered ${status} ${response.statusText}`.trim(), {
    status,
    retryAfter: after >= 0 ? after : undefined,
    remedy,
  });
}

/**
 * @param {number} status
 * @param {string} code
 * @returns {Kind}
 */
function kindOf(status, code) {
  if (status === 401) return "key";
  if (status === 429 || status === 503) return "busy";
  if (code === "context_length_exceeded") return "context";
  return status >= 500 ? "server" : "refused";
}

/**
 * The parts of an error object that are of use; anything may stand in them.
 * @param {any} error
 */
function said(error) {
  if (typeof error === "string") return { message: error, code: "", remedy: undefined };
  return {
    message: typeof error?.message === "string" ? error.message : "",
    code: typeof error?.code === "string" ? error.code : "",
    remedy: typeof error?.remedy === "string" ? error.remedy : undefined,
  };
}

/**
 * @param {string} data of one event
 * @returns {Part}
 */
function partOf(data) {
  let chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw new ApiError("broken", "The server sent something that is not JSON.");
  }
  if (chunk?.error) {
    const { message, code, remedy } = said(chunk.error);
    throw new ApiError(code === "context_length_exceeded" ? "context" : "server", message || "The server failed.", {
      remedy,
    });
  }
  const choice = chunk?.choices?.[0];
  /** @type {Part} */
  const part = {};
  const text = choice?.delta?.content ?? choice?.text;
  const thought = choice?.delta?.reasoning_content ?? choice?.delta?.reasoning;
  if (typeof text === "string" && text) part.text = text;
  if (typeof thought === "string" && thought) part.thought = thought;
  if (typeof choice?.finish_reason === "string") part.end = choice.finish_reason === "length" ? "length" : "stop";
  if (chunk?.usage) {
    part.usage = {
      prompt: count(chunk.usage.prompt_tokens),
      completion: count(chunk.usage.completion_tokens),
    };
  }
  const rate = count(chunk?.timings?.tokens_per_second);
  if (rate) part.rate = rate;
  return part;
}

/** @param {unknown} value */
function count(value) {
  return typeof value === "number" && value >= 0 && Number.isFinite(value) ? value : undefined;
}
