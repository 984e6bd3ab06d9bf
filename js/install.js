// Installing a lock into an environment, by pip or by uv, and saying in plain words why it failed.

import { join, resolve } from "node:path";

import { CODES, PocketllamaError } from "./errors.cjs";
import { pythonEnv } from "./environment.js";
import { capture, whyFailed } from "./process.js";

/**
 * Variables for a build. The user's pip and uv settings (indexes, proxies, certificates) are honoured; what would
 * put the packages elsewhere, or keep Python from writing the bytecode that makes the next start fast, is not.
 * @param {NodeJS.ProcessEnv} env
 */
export function buildEnv(env) {
  const kept = pythonEnv(env);
  for (const name of ["PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONWARNINGS", "PYTHONOPTIMIZE",
    "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_DRY_RUN", "PIP_REQUIRE_VIRTUALENV"]) delete kept[name];
  return { ...kept, PIP_USER: "0" };
}

/**
 * The packages of a lock: name, version, and the lines that pin them.
 * @param {string} text of a requirements file made by `uv pip compile --generate-hashes`
 */
export function parseLock(text) {
  return text.split(/^(?=[A-Za-z0-9])/m).flatMap((lines) => {
    const [, name, version] = /^([A-Za-z0-9._-]+)==([^\s;\\]+)/.exec(lines) ?? [];
    return name ? [{ name, version, lines }] : [];
  });
}

/**
 * @typedef {object} Installation
 * @property {import("./python.js").Interpreter} interpreter what installs
 * @property {string} python the environment's interpreter
 * @property {string} cwd an empty folder
 * @property {string} lockFile
 * @property {string} [target] a folder to install into, instead of the environment; without dependencies
 * @property {string} [wheelhouse] a folder of wheels to install from, instead of the network
 * @property {NodeJS.ProcessEnv} env
 * @property {AbortSignal} [signal]
 * @property {import("./progress.js").Progress} progress
 *
 * @param {Installation} installation
 */
export async function install({ interpreter, python, cwd, lockFile, target, wheelhouse, env, signal, progress }) {
  const { installer, base, uv } = interpreter;
  // Nothing is compiled here: the check that follows imports, and so compiles, what a start needs, and no more.
  const quiet = ["--no-compile", "--no-input", "--no-color", "--progress-bar", "off", "--disable-pip-version-check", "--no-warn-script-location"];
  const [command, ...args] = {
    pip: [base ?? "", "-m", "pip", "--python", python, "install", ...quiet],
    ensurepip: [python, "-m", "pip", "install", ...quiet],
    uv: [uv ?? "", "pip", "install", "--no-progress", "--python", python],
  }[installer];
  args.push("--require-hashes", "--only-binary", ":all:", "-r", lockFile);
  if (target) args.push("--no-deps", "--target", target);
  if (wheelhouse) args.push("--no-index", "--find-links", resolve(wheelhouse));
  const outcome = await capture(command, args, {
    env: buildEnv(env),
    cwd,
    signal,
    onLine(line) {
      const [, what] = /^(?:Collecting|Processing|Installing|Downloaded) (?:.*[/\\])?([A-Za-z0-9_.-]+)/.exec(line) ?? [];
      if (what) progress.detail(line.startsWith("Installing") ? "unpacking" : what.replace(/-[^-]+-[^-]+-[^-]+\.whl$/, ""));
    },
  });
  if (outcome.code !== 0) throw explain(outcome, installer, wheelhouse);
}

/**
 * @param {import("./process.js").Outcome} outcome
 * @param {string} installer
 * @param {string} [wheelhouse]
 */
function explain(outcome, installer, wheelhouse) {
  const { output } = outcome;
  const lines = output.split(/[\r\n]+/).filter((line) => line.trim() && !/^WARNING: Location/.test(line));
  const tail = lines.slice(-8).map((line) => `\n    ${line.slice(0, 300)}`).join("");
  const data = { output: lines.slice(-40).join("\n") };
  /** @param {keyof typeof CODES} kind @param {string} why @param {string} remedy */
  const error = (kind, why, remedy) => new PocketllamaError(`${why} ${installer} said:${tail}`, { code: CODES[kind], remedy, data });

  if (/No space left on device|ENOSPC|Disk quota exceeded/i.test(output)) {
    return error("StorageError", "The disk is full.", "Free about 200 MB, or set POCKETLLAMA_HOME to a folder on a larger disk.");
  }
  if (/do not match the hashes|hash mismatch/i.test(output)) {
    return error("DownloadCorrupt", "A package is not what its lock promises.", "Try again. If it stays so, the index or a proxy changes packages on the way.");
  }
  if (wheelhouse && /No matching distribution|no version of|not found in the package registry|no solution/i.test(output)) {
    return error("DownloadError", `A package is missing in ${resolve(wheelhouse)}, or is there for another Python or platform.`,
      "Fill it on a machine of the same kind: python3 -m pip download --require-hashes --only-binary :all: -r py/locks/base.txt -d DIR");
  }
  // pip reports an index that cannot be reached as a package of which there is "no matching distribution": ask this first.
  if (/NewConnectionError|ConnectTimeout|ReadTimeout|Max retries exceeded|name resolution|ProxyError|SSLError|CERTIFICATE_VERIFY|Connection (?:refused|reset|broken)|error sending request|dns error/i.test(output)) {
    return error("DownloadError", "The package index cannot be reached.",
      "Check the network (pip's own settings for proxies and certificates apply), or install from a folder of wheels: pocketllama setup --wheelhouse DIR");
  }
  if (/No matching distribution|no version of|no wheels/i.test(output)) {
    return error("DownloadError", "The package index has no build of a package for this Python and platform, or did not answer.",
      "Check the network; else set POCKETLLAMA_PYTHON to another Python (3.10 to 3.13 are sure to work), then try again.");
  }
  return new PocketllamaError(`Installing the Python packages failed: ${installer} ${whyFailed(outcome)}${tail}`, {
    code: CODES.RunnerError,
    remedy: "Try again with: pocketllama setup --force",
    data,
  });
}

// Imports what a start needs, which proves that it works and writes its bytecode, then sees the files safely on disk:
// after a power cut, a READY stamp must not stand beside files of length zero.
const CHECK = `
import concurrent.futures, importlib, json, os, sys, sysconfig
for name in sys.argv[1:]:
    importlib.import_module(name)
def sync(path):
    try:
        fd = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR | os.O_BINARY)
    except PermissionError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
paths = [os.path.join(folder, name) for folder, _, names in os.walk(sys.prefix) for name in names]
if os.name == "posix":
    paths += [folder for folder, _, _ in os.walk(sys.prefix)]
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    list(pool.map(sync, (path for path in paths if not os.path.islink(path))))
print(json.dumps({"version": ".".join(map(str, sys.version_info[:3])), "base": os.path.realpath(sys._base_executable),
                  "site": os.path.relpath(sysconfig.get_path("purelib"), sys.prefix)}))
`;

// What the engine cannot do without, where the lock brings it.
const ESSENTIAL = ["ctransformers", "sentencepiece", "fire"];

/**
 * Prove that a new environment works.
 * @param {{ python: string, lock: string, cwd: string, env: NodeJS.ProcessEnv, signal?: AbortSignal }} options
 * @returns {Promise<{ version: string, base: string, site: string }>}
 */
export async function check({ python, lock, cwd, env, signal }) {
  const names = new Set(parseLock(lock).map(({ name }) => name));
  const modules = ESSENTIAL.filter((name) => names.has(name));
  const outcome = await capture(python, ["-c", CHECK, ...modules], { env: buildEnv(env), cwd, signal });
  if (outcome.code === 0) return JSON.parse(outcome.stdout.trim().split("\n").pop() ?? "");
  const full = /No space left on device/.test(outcome.output);
  throw new PocketllamaError(`The new Python environment does not work: ${python} ${whyFailed(outcome)}`, {
    code: full ? CODES.StorageError : CODES.RunnerError,
    remedy: full ? "Free about 200 MB, or set POCKETLLAMA_HOME to a folder on a larger disk." : "Set POCKETLLAMA_PYTHON to another Python, then run: pocketllama setup --force",
    data: { output: outcome.output },
  });
}

/** Where an environment's interpreter lies, relative to the environment. */
export const VENV_PYTHON = process.platform === "win32" ? join("venv", "Scripts", "python.exe") : join("venv", "bin", "python");

/**
 * Make an empty virtual environment at `dir`/venv.
 * @param {{ interpreter: import("./python.js").Interpreter, dir: string, uvPython: string, offline: boolean, env: NodeJS.ProcessEnv, signal?: AbortSignal }} options
 */
export async function createVenv({ interpreter, dir, uvPython, offline, env, signal }) {
  const { installer, base, uv } = interpreter;
  const venv = join(dir, "venv");
  // A venv without pip takes 0.2 s, one with pip 6 s and 14 MB; the base's own pip can install into the former.
  const [command, ...args] = {
    pip: [base ?? "", "-I", "-m", "venv", "--without-pip", venv],
    ensurepip: [base ?? "", "-I", "-m", "venv", venv],
    uv: [uv ?? "", "venv", "--no-project", ...(offline ? ["--offline"] : []), "--python", base ?? uvPython, venv],
  }[installer];
  const outcome = await capture(command, args, { env: buildEnv(env), cwd: dir, signal });
  if (outcome.code === 0) return;
  const full = /No space left on device/.test(outcome.output);
  throw new PocketllamaError(`A Python environment could not be created: ${command} ${whyFailed(outcome)}`, {
    code: full ? CODES.StorageError : CODES.RunnerError,
    remedy: full ? "Free about 200 MB, or set POCKETLLAMA_HOME to a folder on a larger disk."
      : "Install a complete Python of 3.10 or newer (Debian and Ubuntu: sudo apt install python3-venv), or set POCKETLLAMA_PYTHON to one.",
    data: { output: outcome.output },
  });
}
