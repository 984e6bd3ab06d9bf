// Child processes whose output is read, not shown. No shell.

import { spawn } from "node:child_process";

const TAIL = 64 * 1024; // characters of output kept; the end is what explains a failure

/**
 * @typedef {object} Outcome
 * @property {number | null} code
 * @property {NodeJS.Signals | null} signal
 * @property {string} stdout at most the last 64 KiB
 * @property {string} output stdout and stderr as they came, at most the last 64 KiB
 * @property {boolean} timedOut
 * @property {NodeJS.ErrnoException | null} error the process could not be started
 */

/**
 * Run a command to its end. Never rejects, except with the signal's reason once an abort has killed the process and
 * its children.
 * @param {string} command
 * @param {string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string, timeout?: number, signal?: AbortSignal, onLine?: (line: string) => void }} [options]
 * @returns {Promise<Outcome>}
 */
export function capture(command, args, { env, cwd, timeout, signal, onLine } = {}) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const posix = process.platform !== "win32";
    /** @type {Outcome} */
    const outcome = { code: null, signal: null, stdout: "", output: "", timedOut: false, error: null };
    let child;
    try {
      // A group of its own, so that killing it takes pip's children too, and a Ctrl-C reaches it through us alone.
      child = spawn(command, args, { env, cwd, stdio: ["ignore", "pipe", "pipe"], detached: posix, windowsHide: true });
    } catch (error) {
      // Node throws what it does not expect of execve (ENOTDIR, ELOOP, a NUL in the path) and emits the rest.
      outcome.error = /** @type {NodeJS.ErrnoException} */ (error);
      return resolve(outcome);
    }
    let line = "";

    const kill = () => {
      try {
        if (posix && child.pid) process.kill(-child.pid, "SIGKILL");
        else child.kill("SIGKILL");
      } catch {
        // already gone
      }
      // A grandchild that left the group may still hold the pipes, and "close" would wait for it.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const timer = timeout === undefined ? undefined : setTimeout(() => {
      outcome.timedOut = true;
      kill();
    }, timeout);
    signal?.addEventListener("abort", kill, { once: true });

    /** @param {string} text */
    const take = (text) => {
      outcome.output = (outcome.output + text).slice(-TAIL);
      if (!onLine) return;
      const lines = (line + text).split(/[\r\n]+/);
      line = (lines.pop() ?? "").slice(-TAIL);
      lines.forEach(onLine);
    };
    child.stdout.setEncoding("utf8").on("data", (text) => {
      outcome.stdout = (outcome.stdout + text).slice(-TAIL);
      take(text);
    });
    child.stderr.setEncoding("utf8").on("data", take);

    const finish = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", kill);
      if (signal?.aborted) reject(signal.reason);
      else resolve(outcome);
    };
    child.on("error", (error) => {
      outcome.error = error;
      if (child.pid === undefined) finish();
    });
    child.on("close", (code, by) => {
      Object.assign(outcome, { code, signal: by });
      finish();
    });
  });
}

/**
 * Why a command failed, in a few words.
 * @param {Outcome} outcome
 */
export function whyFailed({ code, signal, timedOut, error, output }) {
  if (timedOut) return "did not answer in time";
  if (error) return error.code === "ENOENT" ? "is not there" : `cannot be started (${error.code ?? error.message})`;
  const last = output.trim().split(/[\r\n]+/).pop()?.slice(0, 200);
  return (signal ? `was killed by ${signal}` : `exited with ${code}`) + (last ? `: ${last}` : "");
}
