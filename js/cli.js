// argv → environment → the Python CLI with the terminal's own stdio. What is heavy is imported when it is needed: a
// warm start reads one small file and starts Python.

import { spawn } from "node:child_process";
import { constants } from "node:os";

import { engineIsDue } from "./engine.js";
import { findEnvironment, isOffline, pythonEnv, runModule } from "./environment.js";
import { watchNpx } from "./starter.js";

/** What a verb needs beyond the base environment. @type {Record<string, string[]>} */
const NEEDS = { "compare-quants": ["convert"], convert: ["convert"], serve: ["serve"], test: ["test"] };

// The verbs that run no model. What is no verb is a prompt.
const WITHOUT_ENGINE = ["pull", "list", "ls", "show", "rm", "convert", "version", "--version", "help", "--help", "-h"];

const PATIENCE_MS = 6000; // for what runs in our place to end, once npx is gone

const NODE = { version: process.version, path: process.execPath };

/**
 * The command line as Node sees it: Python's arguments, less `--offline`, which becomes a variable. An argument behind
 * `--`, or behind the script of `js`, is nobody's but its own.
 * @param {string[]} argv
 */
export function parse(argv) {
  const verb = argv.find((arg) => arg !== "--offline") ?? "";
  let end = argv.indexOf("--");
  if (end < 0) end = argv.length;
  if (verb === "js") {
    const script = argv.findIndex((arg, index) => index > argv.indexOf("js") && !arg.startsWith("-"));
    if (script >= 0) end = Math.min(end, script);
  }
  const own = argv.slice(0, end);
  return { verb, args: [...own.filter((arg) => arg !== "--offline"), ...argv.slice(end)], offline: own.includes("--offline") };
}

/**
 * Run the command line and exit as it does.
 * @param {string[]} argv
 */
export async function main(argv) {
  const { verb, args, offline } = parse(argv);
  if (offline) process.env.POCKETLLAMA_OFFLINE = "1";
  process.exitCode = await dispatch(verb, args).catch(report);
}

/**
 * @param {string} verb
 * @param {string[]} args
 * @returns {Promise<number>} the exit code
 */
async function dispatch(verb, args) {
  const engine = !WITHOUT_ENGINE.includes(verb) && !asksForHelp(args);
  if (verb === "setup" || verb === "doctor" || verb === "test") return (await import("./verbs.js"))[verb](args.slice(1));
  if (verb === "build" && engine) return (await import("./verbs.js")).build(args);
  const layers = asksForHelp(args) ? undefined : NEEDS[verb];
  let environment = layers || (engine && engineIsDue(process.env, { offline: isOffline() })) ? null : findEnvironment();
  if (!environment && isAboutItself(args)) return (await import("./verbs.js")).about(args);
  environment ??= await makeReady({ layers, engine });
  if (environment.record.package !== pythonEnv().PYTHONPATH) (await import("./bootstrap.js")).refresh(environment, process.env);
  return handOver(environment, "pocketllama", args);
}

/** Whether a verb's help is wanted, for which nothing is built. @param {string[]} args */
const asksForHelp = (args) => (args.includes("--") ? args.slice(0, args.indexOf("--")) : args).some((arg) => arg === "--help" || arg === "-h");

/** Whether the question can be answered without an environment. @param {string[]} args */
const isAboutItself = ([first, ...rest]) => !rest.length && ["--help", "-h", "help", "--version", "version"].includes(first);

/**
 * Make the environment ready, with progress on stderr. A signal stops the work, and what was half made is removed.
 * @param {import("./bootstrap.js").SetupOptions} options
 */
export async function makeReady(options) {
  const [{ ensureEnvironment }, { terminalProgress }] = await Promise.all([import("./bootstrap.js"), import("./progress.js")]);
  const stop = new AbortController();
  const signals = /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]);
  const onSignal = (/** @type {NodeJS.Signals} */ name) => stop.abort({ exitCode: 128 + constants.signals[name] });
  for (const name of signals) process.on(name, onSignal);
  try {
    return await ensureEnvironment({ progress: terminalProgress(), signal: stop.signal, ...options });
  } finally {
    for (const name of signals) process.off(name, onSignal);
  }
}

/**
 * Start a Python module in our place: its stdio is ours, its end is ours.
 * @param {import("./environment.js").Environment} environment
 * @param {string} module
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<number>} its exit code; 128 + n where signal n ended it
 */
export function handOver({ python, record }, module, args, { cwd, env } = {}) {
  return new Promise((resolve, reject) => {
    // The other end of descriptor 3 is ours: Python reads its end from it when this process is gone, even if it was killed.
    const pipe = process.platform !== "win32" && module === "pocketllama";
    const child = spawn(python, [...runModule(record.version, module), ...args], {
      cwd,
      env: { ...pythonEnv(), POCKETLLAMA_LAUNCHER: "npx", POCKETLLAMA_NODE: JSON.stringify(NODE), ...(pipe && { POCKETLLAMA_PARENT_FD: "3" }), ...env },
      stdio: ["inherit", "inherit", "inherit", ...(pipe ? [/** @type {const} */ ("pipe")] : [])],
    });
    const unwatch = watchNpx(() => {
      child.kill("SIGTERM");
      setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS).unref();
    });
    // The terminal sends Ctrl-C to both; Python decides what comes of it. The others reach Node alone.
    process.on("SIGINT", () => {});
    for (const name of /** @type {const} */ (["SIGTERM", "SIGHUP"])) process.on(name, () => child.kill(name));
    child.on("error", reject);
    child.on("exit", unwatch);
    child.on("exit", (code, signal) => resolve(signal ? 128 + constants.signals[signal] : code ?? 1));
  });
}

/**
 * Tell a person what went wrong.
 * @param {any} error
 * @returns {number} the exit code
 */
function report(error) {
  if (typeof error.describe === "function") console.error(`pocketllama: ${error.describe()}`);
  else if (error instanceof Error) console.error(`pocketllama: ${error.stack}`);
  return error.exitCode ?? 1;
}
