// The runner as a process: spawn, handshake, death, kill.

import { spawn } from "node:child_process";

import { CODES, PocketllamaError } from "./errors.cjs";
import { version } from "./paths.js";
import { RpcConnection } from "./rpc.js";

const PROTOCOL_VERSION = 1;
const LAST_WORDS = 8 * 1024; // characters of stderr that an error may quote
const QUOTED_LINES = 12;
const HANDSHAKE_MS = 60_000; // Python from a cold disk; the model loads after the handshake
const ASK_MS = 3_000; // how long close() waits for the runner to end by itself, then after SIGTERM
const DRAIN_MS = 1_000; // how long a dead runner's pipes may stay open, held by a process that it started

/** Those that live, so that none outlives this process. @type {Set<import("node:child_process").ChildProcess>} */
const living = new Set();
const endAll = () => living.forEach((child) => child.kill());

export class Runner {
  #child;
  #rpc;
  #lastWords = "";
  /** @type {NodeJS.ErrnoException | null} */
  #spawnError = null;
  /** Resolves once the process and its pipes are gone. @type {Promise<void>} */
  ended;

  /** Whether requests can be sent. */
  alive = true;

  /**
   * Start a runner and shake hands with it.
   * @param {object} options
   * @param {string[]} options.command
   * @param {NodeJS.ProcessEnv} options.env
   * @param {string} [options.cwd]
   * @param {(text: string) => void} [options.onStderr]
   * @param {AbortSignal} [options.signal]
   */
  static async start({ signal, ...options }) {
    signal?.throwIfAborted();
    const runner = new Runner(options);
    const timer = setTimeout(() => runner.#die("did not answer within a minute of its start"), HANDSHAKE_MS);
    try {
      const clientInfo = { name: "pocketllama-js", version: version() };
      const { answer } = runner.request("initialize", { protocolVersion: PROTOCOL_VERSION, clientInfo }, { signal });
      const { protocolVersion, serverInfo, limits } = await answer;
      if (protocolVersion !== PROTOCOL_VERSION) {
        throw new PocketllamaError(`The runner speaks protocol ${protocolVersion} (version ${serverInfo?.version}), this client ${PROTOCOL_VERSION}.`, {
          code: CODES.RunnerError,
          remedy: "Install the same version of pocketllama on both sides.",
        });
      }
      if (limits?.maxMessageBytes > 0) runner.#rpc.maxMessageBytes = limits.maxMessageBytes;
      return runner;
    } catch (error) {
      runner.#hold(true);
      runner.#child.kill("SIGKILL");
      await runner.ended;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {{ command: string[], env: NodeJS.ProcessEnv, cwd?: string, onStderr?: (text: string) => void }} options */
  constructor({ command: [file, ...args], env, cwd, onStderr }) {
    const child = (this.#child = start(file, args, { env, cwd }));
    this.#rpc = new RpcConnection({
      write: (bytes) => void (child.stdin?.writable && child.stdin.write(bytes)),
      onBusy: (busy) => this.#hold(busy),
      onBroken: () => this.#die("was ended"),
    });
    // Where the system has no descriptors left there are no pipes, and "error" follows.
    child.stdin?.on("error", () => {}); // it has died, and "exit" tells
    child.stdout?.on("error", () => {}).on("data", (/** @type {Buffer} */ chunk) => this.#rpc.receive(chunk));
    // Read on and on, whoever wants it or not: a runner whose stderr is full stands still.
    child.stderr?.setEncoding("utf8").on("data", (/** @type {string} */ text) => {
      this.#lastWords = (this.#lastWords + text).slice(-LAST_WORDS);
      onStderr?.(text);
    });
    this.ended = new Promise((resolve) => {
      const gone = (/** @type {number | null} */ code, /** @type {string | null} */ signal) => {
        this.alive = false;
        living.delete(child);
        if (!living.size) process.off("exit", endAll);
        this.#rpc.fail(this.#death(file, code, signal));
        for (const pipe of child.stdio ?? []) pipe?.destroy();
        resolve();
      };
      child.on("error", (error) => {
        this.#spawnError = error;
        if (child.pid === undefined) gone(null, null);
      });
      child.on("exit", (code, signal) => {
        this.alive = false;
        const timer = setTimeout(gone, DRAIN_MS, code, signal);
        child.on("close", () => (clearTimeout(timer), gone(code, signal)));
      });
    });
    if (child.pid !== undefined) {
      if (!living.size) process.on("exit", endAll);
      living.add(child);
    }
    this.#hold(false);
  }

  get pid() {
    return this.#child.pid;
  }

  /**
   * @param {string} method
   * @param {object} [params]
   * @param {{ onProgress?: (value: any) => void, signal?: AbortSignal }} [options]
   */
  request(method, params, options) {
    return this.#rpc.request(method, params, options);
  }

  /** End the process: ask, then insist. What is pending rejects. Resolves when it is gone. */
  async close() {
    if (this.alive) {
      this.request("shutdown").answer.catch(() => {});
      this.#rpc.notify("exit");
      this.#rpc.fail(closedError());
      this.alive = false;
      this.#child.stdin?.end();
    }
    this.#hold(true);
    const terminate = setTimeout(() => this.#child.kill("SIGTERM"), ASK_MS);
    const kill = setTimeout(() => this.#child.kill("SIGKILL"), 2 * ASK_MS);
    await this.ended;
    clearTimeout(terminate);
    clearTimeout(kill);
  }

  /**
   * Keep this process running while an answer is awaited, and no longer: an idle runner must not hold its program open.
   * @param {boolean} busy
   */
  #hold(busy) {
    const method = busy ? "ref" : "unref";
    this.#child[method]();
    for (const pipe of /** @type {any[]} */ (this.#child.stdio ?? [])) pipe?.[method]?.();
  }

  /** @param {string} why */
  #die(why) {
    this.alive = false;
    this.#rpc.fail(new PocketllamaError(`The runner (process ${this.pid}) ${why}.${this.#quote()}`, {
      code: CODES.RunnerError,
      remedy: "The next call starts a new one.",
      cause: { exitCode: null, signal: "SIGKILL", stderr: this.#lastWords },
    }));
    this.#child.kill("SIGKILL");
  }

  #quote() {
    const lines = this.#lastWords.trimEnd().split(/\r?\n/).slice(-QUOTED_LINES).filter(Boolean);
    return lines.length ? ` Its last words:\n    ${lines.join("\n    ")}` : "";
  }

  /** @param {string} file @param {number | null} code @param {string | null} signal */
  #death(file, code, signal) {
    if (this.#spawnError && this.pid === undefined) return startError(file, this.#spawnError);
    const how = signal ? `was killed by ${signal}` : `ended with exit code ${code}`;
    return new PocketllamaError(`The runner (process ${this.pid}) ${how}.${this.#quote()}`, {
      code: CODES.RunnerError,
      remedy: "The next call starts a new one. If that ends too, see what is wrong with: npx pocketllama doctor",
      data: { exitCode: code, signal },
      cause: { exitCode: code, signal, stderr: this.#lastWords },
    });
  }
}

/** @param {string} file @param {string[]} args @param {{ env: NodeJS.ProcessEnv, cwd?: string }} options */
function start(file, args, options) {
  try {
    return spawn(file, args, { ...options, stdio: ["pipe", "pipe", "pipe"], windowsHide: true });
  } catch (error) {
    // Most failures come as an event; Node throws the rest.
    throw startError(file, /** @type {Error} */ (error));
  }
}

/** @param {string} file @param {Error} cause */
const startError = (file, cause) => new PocketllamaError(`The runner could not be started (${file}): ${cause.message}`, {
  code: CODES.RunnerError,
  remedy: "See what is wrong with: npx pocketllama doctor",
  cause,
});

export const closedError = () => new PocketllamaError("This model has been closed.", {
  code: CODES.EngineClosed,
  remedy: "Call load() for a new one.",
});
