// Where things lie: the user's data directory, and the package's own files.

import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * The user's data directory; nothing is created. py/pocketllama/paths.py follows the same rules; a test compares the two.
 * @param {NodeJS.ProcessEnv} [env]
 */
export function dataDir(env = process.env, platform = process.platform) {
  if (env.POCKETLLAMA_HOME) return resolve(env.POCKETLLAMA_HOME);
  if (platform === "win32") return join(env.LOCALAPPDATA || join(homedir(), "AppData", "Local"), "pocketllama");
  if (platform === "darwin") return join(homedir(), "Library", "Application Support", "pocketllama");
  // The XDG specification: a relative value is to be ignored.
  const xdg = env.XDG_DATA_HOME ?? "";
  return join(isAbsolute(xdg) ? xdg : join(homedir(), ".local", "share"), "pocketllama");
}

/**
 * The package's files. They lie in two ways: in a checkout or an npm package, js/ stands beside py/; in a wheel, js/
 * is inside the Python package (pocketllama/_node/js) and there are no locks, because pip has installed everything.
 * @returns {{ root: string, py: string, locks: string | null }}
 */
export function layout() {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const locks = join(root, "py", "locks");
  if (existsSync(locks)) return { root: resolve(root), py: join(root, "py"), locks };
  return { root: resolve(root), py: resolve(root, "..", ".."), locks: null };
}

/** The version of the package, from the one file that states it. */
export function version() {
  const text = readFileSync(join(layout().py, "pocketllama", "_version.py"), "utf8");
  return /__version__ = "([^"]+)"/.exec(text)?.[1] ?? "unknown";
}
