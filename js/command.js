// How a program's runner is started.

import { CODES, PocketllamaError } from "./errors.cjs";
import { layout } from "./paths.js";
import { pythonEnv, runModule } from "./environment.js";

/**
 * The command of the Python CLI and its environment: the one that was asked for, the one that the surroundings name
 * ($POCKETLLAMA_RUNNER, set by `pocketllama js`), or the managed environment's. That is made first where it is missing, and so is the engine.
 * @param {Pick<import("./index.cjs").LoadOptions, "command" | "python" | "env" | "offline">} options
 * @param {{ onSetup?: (step: string) => void, signal?: AbortSignal }} setup
 * @returns {Promise<{ command: string[], env: NodeJS.ProcessEnv }>}
 */
export async function runnerCommand({ command, python, env: extra, offline }, { onSetup, signal }) {
  /** @type {NodeJS.ProcessEnv} */
  const env = { ...process.env, ...extra };
  if (offline !== undefined) env.POCKETLLAMA_OFFLINE = offline ? "1" : "0";
  const given = command ?? named(env.POCKETLLAMA_RUNNER);
  if (given) return { command: given, env };
  if (python) return { command: [python, "-m", "pocketllama"], env: { ...env, PYTHONPATH: layout().py, PYTHONUTF8: "1" } };
  const { ensureEnvironment } = await import("./bootstrap.js");
  const progress = onSetup && { step: onSetup, detail() {}, warn: onSetup, end() {} };
  const environment = await ensureEnvironment({ env, signal, progress, engine: true });
  return { command: [environment.python, ...runModule(environment.record.version, "pocketllama")], env: pythonEnv(env) };
}

/** @param {string | undefined} value */
function named(value) {
  if (!value) return null;
  try {
    const command = JSON.parse(value);
    if (Array.isArray(command) && command.length && command.every((word) => typeof word === "string")) return command;
  } catch {
    // said below
  }
  throw new PocketllamaError(`POCKETLLAMA_RUNNER is ${JSON.stringify(value)}, which is not a JSON array of strings.`, {
    code: CODES.UsageError,
    remedy: 'It is the command of the pocketllama CLI, such as ["python3", "-m", "pocketllama"].',
  });
}
