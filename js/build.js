// Building the engine at the first run: Python compiles it (pocketllama build), with zig from a layer where the machine
// has no compiler. Whatever goes wrong is one line of warning, and ctransformers' library does the work.

import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

import { attemptFile, nativeDir, sourcesStamp } from "./engine.js";
import { pythonEnv, runModule } from "./environment.js";
import { addLayer, missingLayers } from "./layers.js";
import { temporaryName } from "./lock.js";
import { capture, whyFailed } from "./process.js";

const NO_COMPILER = /^No C\+\+20 compiler/; // as py/pocketllama/engine/build.py says it

/**
 * Build the engine and remember what came of it. Only an abort rejects. The caller holds the lock.
 * @param {import("./environment.js").Environment} environment
 * @param {{ env: NodeJS.ProcessEnv, offline: boolean, wheelhouse?: string, signal?: AbortSignal, progress: import("./progress.js").Progress }} options
 */
export async function buildEngine(environment, options) {
  const { env, offline, wheelhouse, signal, progress } = options;
  const stamp = sourcesStamp();
  const started = Date.now();
  let outcome = await compile(environment, options);
  const needsZig = "failure" in outcome && NO_COMPILER.test(outcome.failure) && missingLayers(environment, ["zig"]).length > 0;
  const forbidden = needsZig && offline && !wheelhouse;
  if (needsZig && !forbidden) {
    try {
      await addLayer(environment, "zig", options);
      outcome = await compile(environment, options);
    } catch (error) {
      signal?.throwIfAborted();
      const [why] = String(/** @type {Error} */ (error).message).split("\n");
      outcome = { failure: `there is no C++20 compiler, and zig could not be brought: ${why}` };
    }
  }
  const library = "library" in outcome ? relative(nativeDir(env), outcome.library) : null;
  remember(env, { stamp, library, ...(forbidden && { offline: true }) });
  if ("failure" in outcome) progress.warn(warning(outcome.failure));
  else progress.end(`the engine is built (${Math.max(1, Math.round((Date.now() - started) / 1000))} s)`);
}

/** @param {string} why */
export const warning = (why) =>
  `the engine could not be built: ${why.replace(/[\s.:]+$/, "")}; ctransformers' library is used, which knows fewer models (try again: pocketllama build)`;

/**
 * @param {import("./environment.js").Environment} environment
 * @param {{ env: NodeJS.ProcessEnv, signal?: AbortSignal, progress: import("./progress.js").Progress }} options
 * @returns {Promise<{ library: string } | { failure: string }>}
 */
async function compile({ dir, python, record }, { env, signal, progress }) {
  let said = "";
  const outcome = await capture(python, [...runModule(record.version, "pocketllama"), "build"], {
    env: pythonEnv(env),
    cwd: dir,
    signal,
    onLine(line) {
      const [, text, more] = /^pocketllama: (.*?)( …)?$/.exec(line) ?? [];
      if (more) progress.step(text);
      else if (text) said = text;
    },
  });
  if (outcome.code === 0) return { library: outcome.stdout.trim().split("\n").pop() ?? "" };
  return { failure: said || whyFailed(outcome) };
}

/** @param {NodeJS.ProcessEnv} env @param {object} attempt */
function remember(env, attempt) {
  const draft = join(nativeDir(env), temporaryName());
  try {
    mkdirSync(nativeDir(env), { recursive: true });
    writeFileSync(draft, `${JSON.stringify(attempt)}\n`);
    renameSync(draft, attemptFile(env));
  } catch {
    // A full or read-only disk: the next start tries again, and says again why it failed.
  }
}
