// Whether our own engine has to be built, asked at every start: a stat for each source, two small files. No source is
// read, no process started. js/build.js does the work.
//
//   <data>/native/<package>.json     what came of the last attempt, for the sources of the package at that place
//                 …                  the library; see py/pocketllama/engine/build.py

import { closeSync, existsSync, openSync, readFileSync, readSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

import { isNo, sha256 } from "./environment.js";
import { dataDir, layout, version } from "./paths.js";

/**
 * @typedef {object} Attempt
 * @property {string} stamp of the sources
 * @property {string | null} library relative to the folder of this record; null where it could not be built
 * @property {boolean} [offline] it failed for want of a network
 */

/** Where built engines lie. */
export const nativeDir = (env = process.env) => join(dataDir(env), "native");

/** The record of the last attempt. @param {NodeJS.ProcessEnv} env */
export const attemptFile = (env) => join(nativeDir(env), `${sha256(layout().root).slice(0, 12)}.json`);

/** What this processor offers, as Linux tells it: a library built here has nothing for others. Empty elsewhere, where it has all. */
function processor() {
  if (process.platform !== "linux") return "";
  const start = Buffer.alloc(16384); // of many cores, the first
  try {
    const file = openSync("/proc/cpuinfo", "r");
    try {
      const text = start.toString("latin1", 0, readSync(file, start));
      return /^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1] ?? "";
    } finally {
      closeSync(file);
    }
  } catch {
    return "";
  }
}

/** What changes when a source does, or the processor: every name, size and time. Null where there are no sources. */
export function sourcesStamp() {
  const root = join(layout().root, "native");
  if (!existsSync(join(root, "src", "abi.cc"))) return null;
  const facts = [version(), processor()];
  /** @param {string} folder */
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) walk(path);
      else {
        const { size, mtimeMs } = statSync(path);
        facts.push(`${path.slice(root.length)} ${size} ${mtimeMs}`);
      }
    }
  };
  for (const folder of ["include", "src"]) walk(join(root, folder));
  return sha256(facts.sort().join("\n"));
}

/**
 * Whether the engine is to be built before it is used: it is not there, nobody has forbidden it, and these sources have
 * not failed before.
 * @param {NodeJS.ProcessEnv} env
 * @param {{ offline?: boolean, retry?: boolean }} [options] retry: also what has failed before
 */
export function engineIsDue(env, { offline = false, retry = false } = {}) {
  if (isNo(env.POCKETLLAMA_BUILD) || env.POCKETLLAMA_LIB) return false;
  const stamp = sourcesStamp();
  if (!stamp) return false;
  /** @type {Attempt} */
  let last;
  try {
    last = JSON.parse(readFileSync(attemptFile(env), "utf8"));
  } catch {
    return true;
  }
  if (last?.stamp !== stamp) return true;
  if (typeof last.library === "string") return !existsSync(join(nativeDir(env), last.library));
  return retry || Boolean(last.offline && !offline);
}
