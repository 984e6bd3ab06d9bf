// The managed Python environment as files: what it is called, how a warm start finds it, what Python is started with.
//
//   <data>/envs/
//     linux-x64-<lock>.json            pointer: a copy of READY, at a path that needs no Python to compute
//     py311-linux-x64-<lock>/READY     the record below, written before the folder gets its name
//                            venv/     the interpreter
//                            extras/   <layer>-<lock>/, brought by the verbs that need more (convert, serve, test)
//     .tmp-<owner>-…  .lock-…          builds under way, or what a killed one left
//
// Every path inside a record is relative, so the data directory may be moved.

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { basename, delimiter, join, resolve } from "node:path";

import { dataDir, layout } from "./paths.js";

/**
 * @typedef {object} EnvironmentRecord
 * @property {1} format
 * @property {string} key the folder's name
 * @property {string} python the interpreter, relative to the folder
 * @property {string} site its site-packages, relative to the folder
 * @property {string} base the interpreter that the environment was made from
 * @property {string} version of Python, as in "3.11.7"
 * @property {string} lock sha256 of the base lock
 * @property {string} package the folder that `import pocketllama` finds when this interpreter is started alone
 * @property {string} created ISO 8601
 *
 * @typedef {{ dir: string, python: string, record: EnvironmentRecord }} Environment
 */

/** @param {string | Buffer} data */
export const sha256 = (data) => createHash("sha256").update(data).digest("hex");

export const envsDir = (env = process.env) => join(dataDir(env), "envs");

/** The part of every name that says which machine and which lock. @param {string} lock sha256 of the base lock */
export const machineKey = (lock) => `${process.platform}-${process.arch}-${lock.slice(0, 12)}`;

/** The sha256 of the base lock, or null in a wheel, which has none. */
export function baseLock() {
  const { locks } = layout();
  return locks && sha256(readFileSync(join(locks, "base.txt")));
}

/** Whether a variable's value says no. @param {string | undefined} value */
export const isNo = (value) => ["0", "false", "no", "off"].includes((value ?? "").toLowerCase());

/** Whether the environment variable forbids the network. */
export const isOffline = (env = process.env) => Boolean(env.POCKETLLAMA_OFFLINE) && !isNo(env.POCKETLLAMA_OFFLINE);

/**
 * What $POCKETLLAMA_PYTHON names, as a path (a bare name is looked up on PATH); null where it is not set.
 * @param {NodeJS.ProcessEnv} env
 */
export function explicitPython(env) {
  const named = env.POCKETLLAMA_PYTHON;
  if (!named) return null;
  if (basename(named) !== named) return resolve(named);
  return which(named, env)[0] ?? named;
}

/**
 * Every file on PATH that a command name can mean, first to last.
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 */
export function which(name, env) {
  // Windows keeps the variable as "Path"; process.env is case-blind there, but a copy of it is not.
  const path = env.PATH ?? Object.entries(env).find(([key]) => key.toUpperCase() === "PATH")?.[1] ?? "";
  const file = process.platform === "win32" && !/\.exe$/i.test(name) ? `${name}.exe` : name;
  const found = path.split(delimiter).filter(Boolean).map((folder) => join(resolve(folder), file)).filter(existsSync);
  return [...new Set(found)];
}

/**
 * Where the pointer of the environment lies. An explicit base Python has a pointer of its own.
 * @param {string} lock
 * @param {NodeJS.ProcessEnv} env
 */
export function pointerFile(lock, env) {
  const explicit = explicitPython(env);
  return join(envsDir(env), machineKey(lock) + (explicit ? `-${sha256(explicit).slice(0, 8)}` : "") + ".json");
}

/**
 * Read a record (a pointer or a READY file) and make an environment of it; null unless its interpreter is there.
 * @param {string} file
 * @param {string} lock
 * @param {NodeJS.ProcessEnv} env
 * @returns {Environment | null}
 */
export function readRecord(file, lock, env) {
  /** @type {EnvironmentRecord} */
  let record;
  try {
    record = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return null; // not there, or cut short by a crash: the same as none
  }
  if (record?.format !== 1 || record.lock !== lock || typeof record.key !== "string" || record.key !== basename(record.key)) return null;
  const dir = join(envsDir(env), record.key);
  const python = join(dir, record.python);
  // A link to a Python that the system has since replaced dangles, and existsSync says so; Windows copies, so ask there.
  if (!existsSync(python) || (process.platform === "win32" && !existsSync(record.base))) return null;
  return { dir, python, record };
}

/**
 * The environment of a warm start: one read, one stat; no Python, no network.
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Environment | null}
 */
export function findEnvironment(env = process.env) {
  const lock = baseLock();
  return lock ? readRecord(pointerFile(lock, env), lock, env) : null;
}

/**
 * Variables for a Python of ours. The user's own Python settings would mix another installation into this one.
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {NodeJS.ProcessEnv}
 */
export function pythonEnv(env = process.env) {
  const { PYTHONHOME, PYTHONSTARTUP, PYTHONIOENCODING, PYTHONPATH, __PYVENV_LAUNCHER__, ...rest } = env;
  return { ...rest, PYTHONPATH: layout().py, PYTHONUTF8: "1" };
}

// -P keeps the caller's folder off sys.path, where a file named json.py would be imported in place of Python's own.
// Python 3.10 lacks it.
const WITHOUT_CWD = "import runpy, sys; del sys.path[0]; runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)";

/**
 * The arguments that run a module without the current folder on sys.path.
 * @param {string} pythonVersion
 * @param {string} module
 */
export function runModule(pythonVersion, module) {
  return /^3\.10\b/.test(pythonVersion) ? ["-c", WITHOUT_CWD, module] : ["-P", "-m", module];
}

/** The Python tag of a folder name: "3.11.7" → "py311". @param {string} pythonVersion */
export const pythonTag = (pythonVersion) => `py${pythonVersion.split(".").slice(0, 2).join("")}`;

