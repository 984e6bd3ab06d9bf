// interpreter → locked environment → READY stamp.
//
// Everything is built in a temporary folder and takes its name by one rename, so that a name that exists is complete.
// A run that is killed leaves a temporary folder, which the next build sweeps away.

import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { baseLock, envsDir, explicitPython, findEnvironment, isOffline, machineKey, pointerFile, pythonTag, readRecord, sha256 } from "./environment.js";
import { buildEngine, warning } from "./build.js";
import { engineIsDue } from "./engine.js";
import { CODES, PocketllamaError } from "./errors.cjs";
import { VENV_PYTHON, check, createVenv, install } from "./install.js";
import { LAYERS, addLayer, missingLayers, writePth } from "./layers.js";
import { isAlive, temporaryName, withLock } from "./lock.js";
import { dataDir, layout } from "./paths.js";
import { silent } from "./progress.js";
import { UV_PYTHON, chooseInterpreter } from "./python.js";

/**
 * @typedef {import("./environment.js").Environment} Environment
 *
 * @typedef {object} SetupOptions
 * @property {NodeJS.ProcessEnv} [env]
 * @property {boolean} [offline] use no network; fail where it would be needed
 * @property {string} [wheelhouse] a folder of wheels to install from, instead of the network
 * @property {boolean} [force] build anew even where there is one
 * @property {string[]} [layers] bring these too
 * @property {boolean} [engine] build the engine too, where that is due
 * @property {boolean} [retry] build it also where that has failed before
 * @property {AbortSignal} [signal] stops a build and removes what it made
 * @property {import("./progress.js").Progress} [progress]
 */

/**
 * The environment, made first where it is missing.
 * @param {SetupOptions} [options]
 * @returns {Promise<Environment>}
 * @throws {PocketllamaError} with what stands in the way and what to do about it
 */
export async function ensureEnvironment(options = {}) {
  const { env = process.env, force = false, layers = [], signal, progress = silent } = options;
  const settings = { ...options, env, offline: options.offline ?? isOffline(env), progress };
  const engineDue = () => Boolean(options.engine) && engineIsDue(env, settings);
  for (const layer of layers) {
    if (!Object.hasOwn(LAYERS, layer)) {
      throw new PocketllamaError(`There is no layer '${layer}'.`, { code: CODES.UsageError, remedy: `Known: ${Object.keys(LAYERS).join(", ")}` });
    }
  }
  const lock = baseLock();
  if (!lock) {
    throw new PocketllamaError("This copy of pocketllama came with pip and uses pip's Python; it makes no environment of its own.", {
      code: CODES.RunnerError,
      remedy: "Run the script with: pocketllama js FILE.mjs",
    });
  }
  const found = force ? null : findEnvironment(env);
  const enough = found && !missingLayers(found, layers).length ? found : null;
  if (enough && !engineDue()) return refresh(enough, env);
  try {
    const envs = envsDir(env);
    mkdirSync(envs, { recursive: true });
    const onWait = (/** @type {string} */ pid) => progress.step(`waiting for another pocketllama (process ${pid}) to finish its setup`);
    return await withLock(join(envs, `.lock-${machineKey(lock)}`), { signal, onWait }, async () => {
      sweep(envs);
      // Whoever held the lock before may have done it all.
      const environment = (force ? null : findEnvironment(env)) ?? (await provide(lock, settings));
      for (const layer of missingLayers(environment, layers)) {
        if (settings.offline && !settings.wheelhouse) throw offlineError(`what '${layer}' needs is not installed yet`, layer);
        await addLayer(environment, layer, settings);
      }
      if (engineDue()) await buildEngine(environment, settings);
      return refresh(environment, env);
    });
  } catch (caught) {
    const error = asStorageError(caught, env);
    if (!enough || !(error instanceof PocketllamaError)) throw error;
    progress.warn(warning(error.message)); // a home that may only be read: the engine is wanted, not needed
    return refresh(enough, env);
  } finally {
    progress.end();
  }
}

/**
 * Adopt an environment that is there under its name, or build one.
 * @param {string} lock
 * @param {SetupOptions & { env: NodeJS.ProcessEnv, progress: import("./progress.js").Progress }} settings
 * @returns {Promise<Environment>}
 */
async function provide(lock, { env, offline = false, wheelhouse, force = false, signal, progress }) {
  const explicit = explicitPython(env);
  // Without a wish for a certain Python, any complete environment will do, and nothing has to be run to see that.
  const complete = force || explicit ? null : environments(lock, env).find(({ record }) => !record.key.includes(`${machineKey(lock)}-`));
  if (complete) return point(complete, lock, env);

  if (offline && !wheelhouse && !explicit) throw offlineError("the Python environment is not set up yet");
  progress.step("looking for Python");
  const interpreter = await chooseInterpreter({ env, signal });
  const mine = (/** @type {Environment} */ { record }) =>
    record.base === interpreter.base && pythonTag(record.version) === pythonTag(interpreter.version ?? "");
  const same = force ? undefined : environments(lock, env).find(mine);
  if (same) return point(same, lock, env);
  if (offline && !wheelhouse) throw offlineError("the Python environment is not set up yet");
  return point(await build(interpreter, lock, { env, offline, wheelhouse, force, signal, progress }), lock, env);
}

/**
 * @param {import("./python.js").Interpreter} interpreter
 * @param {string} lock
 * @param {{ env: NodeJS.ProcessEnv, offline: boolean, wheelhouse?: string, force: boolean, signal?: AbortSignal, progress: import("./progress.js").Progress }} options
 * @returns {Promise<Environment>}
 */
async function build(interpreter, lock, { env, offline, wheelhouse, force, signal, progress }) {
  const started = Date.now();
  const { py, locks } = layout();
  const lockFile = join(locks ?? "", "base.txt");
  const envs = envsDir(env);
  const dir = join(envs, temporaryName());
  const python = join(dir, VENV_PYTHON);
  const source = wheelhouse ? `from ${wheelhouse}` : "about 20 MB to download, once";
  try {
    mkdirSync(dir);
    progress.step(`creating a Python environment (Python ${interpreter.version ?? `${UV_PYTHON}, brought by uv`}; ${source})`);
    await createVenv({ interpreter, dir, uvPython: UV_PYTHON, offline: offline || Boolean(wheelhouse), env, signal });
    progress.step("installing the Python packages");
    await install({ interpreter, python, cwd: dir, lockFile, wheelhouse, env, signal, progress });
    progress.step("checking that it works");
    const found = await check({ python, lock: readFileSync(lockFile, "utf8"), cwd: dir, env, signal });
    const site = join("venv", found.site);
    writePth(dir, site);
    const key = freeKey(`${pythonTag(found.version)}-${machineKey(lock)}`, found.base, lock, env);
    /** @type {import("./environment.js").EnvironmentRecord} */
    const record = { format: 1, key, python: VENV_PYTHON, site, base: found.base, version: found.version, lock, package: py, created: new Date().toISOString() };
    writeDurably(join(dir, "READY"), record);
    const environment = await publish(dir, key, lock, env, force);
    progress.end(`ready: Python ${found.version} in ${Math.max(1, Math.round((Date.now() - started) / 1000))} s`);
    return environment;
  } finally {
    if (existsSync(dir)) remove(dir);
  }
}

/**
 * The folder name for a new environment: the plain key, unless another base Python already has it.
 * @param {string} key @param {string} base @param {string} lock @param {NodeJS.ProcessEnv} env
 */
function freeKey(key, base, lock, env) {
  const there = readRecord(join(envsDir(env), key, "READY"), lock, env);
  return !there || there.record.base === base ? key : `${key}-${sha256(base).slice(0, 8)}`;
}

/**
 * Give a finished environment its name. Where another process was quicker, its work is as good as ours.
 * @param {string} dir @param {string} key @param {string} lock @param {NodeJS.ProcessEnv} env @param {boolean} force
 * @returns {Promise<Environment>}
 */
async function publish(dir, key, lock, env, force) {
  const envs = envsDir(env);
  const final = join(envs, key);
  const adopt = () => readRecord(join(final, "READY"), lock, env);
  for (let attempt = 1; ; attempt++) {
    if (force || !adopt()) {
      try {
        // What stands in the way is broken (its base Python is gone, or half of it was deleted) or is to be replaced.
        if (existsSync(final)) renameSync(final, join(envs, temporaryName()));
        renameSync(dir, final);
        syncFolder(envs);
        sweepOwn(envs);
      } catch (error) {
        if (attempt === 5) throw error;
        await delay(100 * attempt); // a virus scanner holds a new file, or another process renames in the same moment
        continue;
      }
    }
    const environment = adopt();
    if (environment) return environment;
    if (attempt === 5) throw new Error(`${final} was removed as soon as it was made`);
  }
}

/**
 * Every complete environment for this lock and machine.
 * @param {string} lock @param {NodeJS.ProcessEnv} env
 */
function environments(lock, env) {
  const envs = envsDir(env);
  return readdirSync(envs).filter((key) => !key.startsWith(".") && key.includes(machineKey(lock)))
    .flatMap((key) => readRecord(join(envs, key, "READY"), lock, env) ?? []);
}

/**
 * Write the pointer, so that the next start finds this environment by one read.
 * @param {Environment} environment @param {string} lock @param {NodeJS.ProcessEnv} env
 */
function point(environment, lock, env) {
  writeDurably(pointerFile(lock, env), environment.record);
  return environment;
}

/**
 * Where the package has moved since the environment was made, tell the environment.
 * @param {Environment} environment @param {NodeJS.ProcessEnv} env
 */
export function refresh(environment, env) {
  const { py } = layout();
  if (environment.record.package === py) return environment;
  const record = { ...environment.record, package: py };
  try {
    writePth(environment.dir, record.site);
    writeDurably(join(environment.dir, "READY"), record);
    writeDurably(pointerFile(record.lock, env), record);
  } catch {
    // A data directory that has become read-only: what Node starts is told by PYTHONPATH, and needs no .pth.
  }
  return { ...environment, record };
}

/** @param {string} file @param {object} record */
function writeDurably(file, record) {
  const draft = join(file, "..", temporaryName());
  try {
    const descriptor = openSync(draft, "wx");
    try {
      writeFileSync(descriptor, `${JSON.stringify(record, null, 2)}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

/** @param {string} folder */
function syncFolder(folder) {
  if (process.platform === "win32") return; // has no such thing
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Remove what dead processes left. What cannot be removed now (an orphaned pip still writes there) is left for next time. */
function sweep(/** @type {string} */ envs) {
  for (const name of readdirSync(envs)) {
    const owner = /^\.tmp-.*/.exec(name)?.[0] ?? /^\.lock-.*?\.(?:stale-)?(?=[0-9a-f]{8}-\d)(.*)$/.exec(name)?.[1];
    if (owner && !isAlive(owner, join(envs, name))) remove(join(envs, name));
  }
}

/** Remove what this process put aside. */
function sweepOwn(/** @type {string} */ envs) {
  const prefix = temporaryName().replace(/[^-]+$/, "");
  for (const name of readdirSync(envs)) if (name.startsWith(prefix)) remove(join(envs, name));
}

/** @param {string} path */
function remove(path) {
  try {
    rmSync(path, { recursive: true, force: true, maxRetries: 3 });
  } catch {
    // see sweep
  }
}

/** @param {string} why @param {string} [layer] */
const offlineError = (why, layer) => new PocketllamaError(`The network is forbidden (--offline), and ${why}.`, {
  code: CODES.OfflineError,
  remedy: `Run once with the network: pocketllama setup${layer ? ` --with ${layer}` : ""}\nor install from a folder of wheels: pocketllama setup --offline --wheelhouse DIR${layer ? ` --with ${layer}` : ""}`,
});

/**
 * What the file system said, in a person's words; anything else unchanged.
 * @param {unknown} error @param {NodeJS.ProcessEnv} env
 */
function asStorageError(error, env) {
  const { code = "", path, syscall, message } = /** @type {NodeJS.ErrnoException} */ (error);
  if (error instanceof PocketllamaError || !syscall || syscall.startsWith("spawn")) return error;
  const why = {
    EACCES: "is not writable for you", EPERM: "is not writable for you", EROFS: "is on a read-only file system",
    ENOSPC: "is on a full disk", EDQUOT: "is over your disk quota", ENOTDIR: "has a file where a folder is needed",
    EEXIST: "has a file where a folder is needed",
  }[code] ?? `cannot be used (${message})`;
  return new PocketllamaError(`pocketllama's data directory ${dataDir(env)} ${why}${path ? ` (${code}: ${path})` : ""}.`, {
    code: CODES.StorageError,
    remedy: code === "ENOSPC" || code === "EDQUOT" ? "Free about 200 MB, or set POCKETLLAMA_HOME to a folder on a larger disk."
      : "Set POCKETLLAMA_HOME to a folder that you can write to.",
    cause: error,
  });
}
