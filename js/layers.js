// What some verbs need beyond the base lock. A layer lies beside the venv and is put on its path, so that an
// environment in use is never changed, only given one folder more.

import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

import { CODES, PocketllamaError } from "./errors.cjs";
import { envsDir, sha256 } from "./environment.js";
import { install, parseLock } from "./install.js";
import { temporaryName } from "./lock.js";
import { layout } from "./paths.js";
import { inspect } from "./python.js";

/** The layers, and those that each one stands on. @type {Record<string, string[]>} */
export const LAYERS = { bench: ["convert"], convert: [], node: [], serve: [], test: ["convert", "node", "serve"], zig: [] };
const SIZES = /** @type {Record<string, string>} */ ({ zig: "; about 100 MB to download, once" });

/**
 * The requirements that a layer adds to the base and to the layers below it, and the folder that holds them.
 * @param {string} layer
 */
export function layerRequirements(layer) {
  const locks = layout().locks ?? "";
  const read = (/** @type {string} */ name) => parseLock(readFileSync(join(locks, `${name}.txt`), "utf8"));
  const below = new Set(["base", ...LAYERS[layer]].flatMap(read).map(({ name, version }) => `${name}==${version}`));
  const requirements = read(layer).filter(({ name, version }) => !below.has(`${name}==${version}`)).map(({ lines }) => lines).join("");
  return { requirements, folder: `${layer}-${sha256(requirements).slice(0, 12)}` };
}

/**
 * Let the environment's interpreter, started by anyone, import pocketllama and the layers that are there.
 * @param {string} dir the environment's folder
 * @param {string} site its site-packages, relative to `dir`
 */
export function writePth(dir, site) {
  const { py, locks } = layout();
  const folder = join(dir, site);
  const extras = Object.keys(LAYERS).filter((layer) => locks && existsSync(join(locks, `${layer}.txt`)))
    .map((layer) => join(dir, "extras", layerRequirements(layer).folder)).filter(existsSync);
  const lines = [/^[\x20-\x7e]+$/.test(py) ? py : importLine(py), ...extras.map((extra) => relative(folder, extra))];
  const draft = join(folder, `${temporaryName()}.tmp`);
  writeFileSync(draft, `${lines.join("\n")}\n`);
  renameSync(draft, join(folder, "pocketllama.pth"));
}

/**
 * A .pth line is read in the locale's encoding, which need not hold the path: spell its bytes in ASCII.
 * @param {string} path
 */
const importLine = (path) => `import os, sys; sys.path.append(os.fsdecode(bytes.fromhex("${Buffer.from(path).toString("hex")}")))`;

/**
 * The layers among `names`, and those below them, that this environment lacks.
 * @param {import("./environment.js").Environment} environment
 * @param {string[]} names
 */
export function missingLayers({ dir }, names) {
  const wanted = [...new Set(names.flatMap((name) => [...LAYERS[name], name]))];
  return wanted.filter((name) => !existsSync(join(dir, "extras", layerRequirements(name).folder)));
}

/**
 * Bring one layer. The caller holds the lock.
 * @param {import("./environment.js").Environment} environment
 * @param {string} layer
 * @param {{ wheelhouse?: string, env: NodeJS.ProcessEnv, signal?: AbortSignal, progress: import("./progress.js").Progress }} options
 */
export async function addLayer({ dir, python, record }, layer, { wheelhouse, env, signal, progress }) {
  const { requirements, folder } = layerRequirements(layer);
  const names = parseLock(requirements).map(({ name }) => name);
  const unique = [...new Set(names)];
  progress.step(`bringing what '${layer}' needs (${unique.slice(0, 4).join(", ")}${unique.length > 4 ? ", …" : ""}${SIZES[layer] ?? ""})`);
  const interpreter = await inspect(record.base, { env, signal });
  if (typeof interpreter === "string") {
    throw new PocketllamaError(`${record.base}, which the environment was made from, ${interpreter}.`, {
      code: CODES.RunnerError,
      remedy: "Make the environment anew: pocketllama setup --force",
    });
  }
  const scratch = join(envsDir(env), temporaryName());
  try {
    const target = join(scratch, folder);
    mkdirSync(target, { recursive: true });
    mkdirSync(join(dir, "extras"), { recursive: true });
    const lockFile = join(scratch, "requirements.txt");
    writeFileSync(lockFile, requirements);
    if (names.length) await install({ interpreter, python, cwd: scratch, lockFile, target, wheelhouse, env, signal, progress });
    renameSync(target, join(dir, "extras", folder));
  } finally {
    rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
  }
  writePth(dir, record.site);
}
