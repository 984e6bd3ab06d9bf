import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const FAKE = [process.execPath, fileURLToPath(new URL("fake_runner.mjs", import.meta.url))];

/** Wait until `ask` gives something true; fail if it never does. */
export async function until(ask, what = String(ask)) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Whether a process runs. A zombie of ours counts: we are to reap it. An orphan's waits for init, which may be slow. */
export function isRunning(pid) {
  try {
    process.kill(pid, 0);
    const [state, parent] = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").pop().split(" ");
    return state !== "Z" || Number(parent) === process.pid;
  } catch (error) {
    return error.code === "ENOENT" && process.platform !== "linux";
  }
}

/** Run a Node program given as text; its standard output as it comes, and its end. */
export function program(source, { args = [], env = {} } = {}) {
  const child = spawn(process.execPath, [...args, "--input-type=module", "-e", source], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const state = { child, stdout: "", ended: once(child, "close").then(([code, signal]) => ({ code, signal })) };
  child.stdout.setEncoding("utf8").on("data", (text) => (state.stdout += text));
  return state;
}
