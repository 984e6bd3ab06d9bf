// Whether npx, which started us, is still there. npm's exec runs a shell, which runs us; if npm is killed, or told to end while the
// shell between does not pass that on, nobody tells us, and a server that nobody knows of would go on for ever.

import { readFileSync } from "node:fs";

const LOOK_MS = 500;

/**
 * Call `gone` once npx has ended, if it was npx that started this very command. Anything else may start us and go: a shell, nohup, systemd,
 * a script of npm's. Returns a function that ends the watch.
 * @param {() => void} gone
 * @param {NodeJS.ProcessEnv} [env]
 */
export function watchNpx(gone, env = process.env) {
  const { npm_lifecycle_event: event, npm_lifecycle_script: script } = env;
  if (process.platform === "win32" || event !== "npx" || !/^'?pocketllama'?$/.test(script ?? "")) return () => {};
  const parent = process.ppid;
  // Where the shell did not become us, npm is its parent.
  const npm = isShell(parent) ? parentOf(parent) : null;
  const timer = setInterval(() => {
    if (process.ppid === parent && (npm === null || parentOf(parent) === npm)) return;
    clearInterval(timer);
    gone();
  }, LOOK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** Whether a process is a shell that was given this command, as /proc has it. @param {number} pid */
function isShell(pid) {
  const [program, option, command] = (proc(pid, "cmdline") ?? "").split("\0");
  return /(^|\/)\w*sh$/.test(program) && option === "-c" && Boolean(command?.includes("pocketllama"));
}

/** @param {number} pid */
function parentOf(pid) {
  const stat = proc(pid, "stat");
  return stat === null ? null : Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}

/**
 * What Linux says of a process; null where there is no such thing.
 * @param {number} pid
 * @param {string} file
 */
function proc(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    return null;
  }
}
