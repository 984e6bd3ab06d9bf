// A server with the API and no model: its answers are what a test says, down to the bytes and the pauses.
// By itself (`node tests/page/fake_server.mjs`) it serves the page with made-up answers, for looking at it.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const STATIC = fileURLToPath(new URL("../../py/pocketllama/serve/static/", import.meta.url));
const TYPES = {
  ".html": "text/html",
  ".css": "text/css",
  ".js": "text/javascript",
  ".svg": "image/svg+xml",
  ".txt": "text/plain",
};

/**
 * @typedef {import("node:http").ServerResponse} Response
 * @typedef {(request: { body: any, headers: any }, response: Response) => void | Promise<void>} Answer
 */

export class FakeServer {
  models = [{ id: "pocket-7b", object: "model", created: 0, owned_by: "tests", context_length: 4096 }];
  /** What each request for an answer gets; those that were queued by `next` come first. @type {Answer} */
  answer = say("An answer.");
  /** @type {Answer[]} */
  #next = [];
  /** Every body that asked for an answer. @type {any[]} */
  asked = [];
  /** How many connections are answering now. */
  open = 0;
  key = "";
  /** The files are there, but the API is not. */
  down = false;
  port = 0;

  /** @param {number} [port] the one that it had before, to be the same server again */
  async start(port = this.port) {
    this.server = createServer((request, response) => {
      this.#serve(request, response).catch((error) => response.destroy(error));
    });
    this.server.listen(port, "127.0.0.1");
    await once(this.server, "listening");
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}/`;
    return this;
  }

  /** End at once, as a killed server does. */
  async stop() {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, "close");
  }

  /** @param {...Answer} answers to the next requests */
  next(...answers) {
    this.#next.push(...answers);
  }

  async #serve(request, response) {
    const { pathname } = new URL(request.url, "http://x");
    if (this.down && /^\/(health|v1)/.test(pathname)) return response.destroy();
    if (pathname === "/health") return json(response, 200, { status: "ok" });
    if (this.key && pathname.startsWith("/v1/") && request.headers.authorization !== `Bearer ${this.key}`) {
      return json(response, 401, {
        error: { message: "The API key is missing or wrong.", type: "authentication_error", code: "invalid_api_key" },
      });
    }
    if (pathname === "/v1/models") return json(response, 200, { object: "list", data: this.models });
    if (!["/v1/chat/completions", "/v1/completions"].includes(pathname)) return this.#file(pathname, response);
    let text = "";
    for await (const piece of request.setEncoding("utf8")) text += piece;
    const body = JSON.parse(text);
    this.asked.push(body);
    this.open++;
    response.on("close", () => this.open--);
    await (this.#next.shift() ?? this.answer)({ body, headers: request.headers }, response);
  }

  #file(name, response) {
    const path = normalize(join(STATIC, name === "/" ? "index.html" : decodeURIComponent(name)));
    if (!path.startsWith(STATIC)) return json(response, 404, {});
    try {
      const content = readFileSync(path);
      response
        .writeHead(200, { "content-type": `${TYPES[extname(path)]}; charset=utf-8`, "cache-control": "no-cache" })
        .end(content);
    } catch {
      json(response, 404, {});
    }
  }
}

function json(response, status, body, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

export const event = (chunk) => `data: ${typeof chunk === "string" ? chunk : JSON.stringify(chunk)}\n\n`;

/** Begin a stream. */
export function begin(response) {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  response.flushHeaders();
}

/** A piece of an answer, as the endpoint that was asked has it. */
export function piece(body, text, end = null) {
  const choice = body.messages ? { delta: text === undefined ? {} : { content: text } } : { text: text ?? "" };
  return event({ object: "chunk", choices: [{ index: 0, finish_reason: end, ...choice }] });
}

/**
 * An answer in pieces.
 * @param {string} text
 * @param {{ by?: number, pause?: number, end?: string, thought?: string, usage?: object }} [how] `by`: characters a
 *   piece; `pause`: ms between two
 * @returns {Answer}
 */
export function say(text, { by = 4, pause = 0, end = "stop", thought = "", usage } = {}) {
  return async ({ body }, response) => {
    begin(response);
    if (thought) response.write(event({ choices: [{ delta: { reasoning_content: thought } }] }));
    const characters = Array.from(text);
    for (let at = 0; at < characters.length && !response.destroyed; at += by) {
      response.write(piece(body, characters.slice(at, at + by).join("")));
      if (pause) await new Promise((resolve) => setTimeout(resolve, pause));
    }
    const completion = Math.ceil(text.length / 4);
    const prompt = Math.ceil(JSON.stringify(body.messages ?? body.prompt).length / 4);
    response.write(piece(body, undefined, end));
    response.write(
      event({
        choices: [],
        usage: usage ?? { prompt_tokens: prompt, completion_tokens: completion },
        timings: { tokens_per_second: 42.4 },
      }),
    );
    response.end(event("[DONE]"));
  };
}

/**
 * An error instead of an answer.
 * @returns {Answer}
 */
export function fail(status, error, headers = {}) {
  return (_, response) => json(response, status, { error }, headers);
}

/**
 * A beginning, and then whatever `then` does.
 * @param {string} text
 * @param {(response: import("node:http").ServerResponse) => void} [then] nothing: a server that stalls
 * @returns {Answer}
 */
export function start(text, then = () => {}) {
  return ({ body }, response) => {
    begin(response);
    response.write(piece(body, text), () => then(response));
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = new FakeServer();
  const { SAMPLE } = await import("./sample.mjs");
  server.answer = say(SAMPLE, { pause: 15 });
  await server.start(Number(process.argv[2] ?? 0));
  console.log(server.url);
}
