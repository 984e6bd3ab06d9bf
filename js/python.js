// Which Python to build the environment from. A name on PATH proves nothing (a pyenv shim without a version, the
// Windows Store stub, a Python of 2010), so every candidate is run and asked.

import { existsSync } from "node:fs";

import { CODES, PocketllamaError } from "./errors.cjs";
import { explicitPython, which } from "./environment.js";
import { capture, whyFailed } from "./process.js";

const OLDEST = [3, 10];
const PROBE_LIMIT_MS = 20_000; // a first start from a cold disk under a virus scanner takes seconds; a hung shim never ends

// Runs on any Python from 2.6 on: an old one should say that it is old.
const PROBE = `
import json, os, sys
found = {"version": list(sys.version_info[:3])}
if sys.version_info >= (3, 10):
    import importlib.util, sysconfig
    has = lambda name: importlib.util.find_spec(name) is not None
    found["implementation"] = sys.implementation.name
    found["bits"] = 64 if sys.maxsize > 2**32 else 32
    found["freeThreaded"] = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    found["base"] = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    found["venv"] = has("venv")
    found["ensurepip"] = has("ensurepip")
    try:
        import pip
        found["pip"] = pip.__version__
    except Exception:
        found["pip"] = None
sys.stdout.write("\\n" + json.dumps(found) + "\\n")
`;

/**
 * @typedef {object} Interpreter
 * @property {string | null} base the interpreter's own path; null: uv is to bring one
 * @property {string | null} version as in "3.11.7"
 * @property {"pip" | "ensurepip" | "uv"} installer pip: its own pip can install into another environment
 * @property {string | null} uv path of uv
 *
 * @typedef {{ what: string, why: string }} Attempt
 */

/** What uv is asked to bring where the machine has no Python. */
export const UV_PYTHON = "3.12";

/** @param {string} platform */
function howToInstall(platform) {
  const python = {
    linux: "Install Python 3.10 or newer (Debian and Ubuntu: sudo apt install python3 python3-venv; Fedora: sudo dnf install python3)",
    darwin: "Install Python 3.10 or newer (brew install python, or python.org)",
    win32: "Install Python 3.10 or newer (winget install Python.Python.3.12)",
  }[platform] ?? "Install Python 3.10 or newer";
  return `${python},\nor uv, which brings one (https://docs.astral.sh/uv), or set POCKETLLAMA_PYTHON to an interpreter that works.`;
}

/**
 * Run one candidate and judge it: what it can do, or why it will not do.
 * @param {string[]} command
 * @param {{ env: NodeJS.ProcessEnv, uv: string | null, signal?: AbortSignal }} options
 * @returns {Promise<Interpreter | string>}
 */
async function probe([command, ...args], { env, uv, signal }) {
  // The probe asks for the Python alone, whatever the user's variables add to it. (-I would do, but not in Python 2.)
  const { PYTHONHOME, PYTHONPATH, PYTHONSTARTUP, __PYVENV_LAUNCHER__, ...clean } = env;
  const outcome = await capture(command, [...args, "-c", PROBE], { env: clean, timeout: PROBE_LIMIT_MS, signal });
  let found;
  try {
    found = outcome.code === 0 ? JSON.parse(outcome.stdout.trim().split("\n").pop() ?? "") : null;
  } catch {
    return "ran, but did not answer as Python does";
  }
  if (!Array.isArray(found?.version)) return whyFailed(outcome);
  const version = found.version.join(".");
  const [major, minor] = found.version;
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) return `is Python ${version}; ${OLDEST.join(".")} or newer is needed`;
  if (found.implementation !== "cpython") return `is ${found.implementation}; CPython is needed`;
  if (found.bits !== 64) return `is a 32-bit Python ${version}; a 64-bit one is needed`;
  if (found.freeThreaded) return `is a free-threaded Python ${version}, which few packages support yet`;
  const [pipMajor, pipMinor] = String(found.pip ?? "0").split(".").map(Number);
  const pipWorks = pipMajor > 22 || (pipMajor === 22 && pipMinor >= 3); // 22.3 brought --python
  if (found.venv && pipWorks) return { base: found.base, version, installer: "pip", uv };
  if (found.venv && found.ensurepip) return { base: found.base, version, installer: "ensurepip", uv };
  if (uv) return { base: found.base, version, installer: "uv", uv };
  return `is Python ${version} without pip and ensurepip (Debian and Ubuntu keep them apart: sudo apt install python3-venv)`;
}

/**
 * Judge one interpreter by its path.
 * @param {string} path
 * @param {{ env: NodeJS.ProcessEnv, signal?: AbortSignal }} options
 * @returns {Promise<Interpreter | string>} what it can do, or why it will not do
 */
export const inspect = (path, { env, signal }) => probe([path], { env, signal, uv: which("uv", env)[0] ?? null });

/**
 * Every command that may be a Python, most preferred first.
 * @param {NodeJS.ProcessEnv} env
 * @returns {string[][]}
 */
function candidates(env) {
  // Behind the plain names come versioned ones, for systems whose python3 is older than what they also have.
  const names = ["python3", "python", "python3.13", "python3.12", "python3.11", "python3.10", "python3.14"];
  const found = names.flatMap((name) => which(name, env)).map((path) => [path]);
  if (process.platform === "win32") found.push(...which("py", env).map((path) => [path, "-3"]));
  return found;
}

/** Apple's /usr/bin/python3 opens a dialog to install Xcode when asked for anything before that is installed. */
const opensDialog = (/** @type {string} */ path) => process.platform === "darwin" && path === "/usr/bin/python3" &&
  !existsSync("/Library/Developer/CommandLineTools/usr/bin/python3") && !existsSync("/Applications/Xcode.app");

/**
 * The Python to build from: $POCKETLLAMA_PYTHON and no other if it is set, else the first on PATH that can do it,
 * else the one that uv would bring.
 * @param {{ env?: NodeJS.ProcessEnv, signal?: AbortSignal }} [options]
 * @returns {Promise<Interpreter>}
 * @throws {PocketllamaError} that lists everything tried and why it would not do
 */
export async function chooseInterpreter({ env = process.env, signal } = {}) {
  const uv = which("uv", env)[0] ?? null;
  const explicit = explicitPython(env);
  if (explicit) {
    const answer = await probe([explicit], { env, uv, signal });
    if (typeof answer !== "string") return answer;
    throw new PocketllamaError(`POCKETLLAMA_PYTHON names ${explicit}, which ${answer}.`, {
      code: CODES.RunnerError,
      remedy: "Set POCKETLLAMA_PYTHON to a Python of 3.10 or newer, or unset it to have one looked for on PATH.",
    });
  }
  /** @type {Attempt[]} */
  const tried = [];
  for (const command of candidates(env)) {
    const answer = opensDialog(command[0]) ? "is Apple's placeholder" : await probe(command, { env, uv, signal });
    if (typeof answer !== "string") return answer;
    tried.push({ what: command.join(" "), why: answer });
  }
  if (uv) return { base: null, version: null, installer: "uv", uv };
  if (!tried.length) tried.push({ what: "python3, python" + (process.platform === "win32" ? ", py" : ""), why: "not on PATH" });
  tried.push({ what: "uv", why: "not on PATH" });
  const list = tried.map(({ what, why }) => `\n    ${what}: ${why}`).join("");
  throw new PocketllamaError(`No Python that pocketllama can use was found. Tried:${list}`, {
    code: CODES.RunnerError,
    remedy: howToInstall(process.platform),
    data: { tried },
  });
}
