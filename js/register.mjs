// Makes `import "pocketllama"` and `require("pocketllama")` mean this copy, wherever the script lies.
//   Node 18.19, 20.6 and newer:  node --import file:///…/js/register.mjs SCRIPT
//   older:                       node --experimental-loader file:///…/js/register.mjs SCRIPT
// `node js/run.mjs SCRIPT` chooses.

import module from "node:module";
import { fileURLToPath } from "node:url";
import { isMainThread } from "node:worker_threads";

const ESM = new URL("index.js", import.meta.url).href;
const CJS = fileURLToPath(new URL("index.cjs", import.meta.url));

/**
 * The loader hook.
 * @param {string} specifier
 * @param {object} context
 * @param {(specifier: string, context: object) => Promise<{ url: string }>} next
 */
export async function resolve(specifier, context, next) {
  return specifier === "pocketllama" ? { url: ESM, format: "module", shortCircuit: true } : next(specifier, context);
}

// Where hooks run on a thread of their own, this file is loaded twice: as the registration, and as the hook.
if (isMainThread) {
  const { register } = /** @type {{ register?: (url: string) => void }} */ (/** @type {unknown} */ (module));
  register?.(import.meta.url);
  const Module = /** @type {any} */ (module);
  const original = Module._resolveFilename;
  Module._resolveFilename = (/** @type {string} */ request, /** @type {unknown[]} */ ...rest) =>
    request === "pocketllama" ? CJS : original.call(Module, request, ...rest);
}
