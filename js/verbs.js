// The verbs that Node answers itself, because they are about the environment: setup, build, doctor, test.

import { existsSync, readdirSync, statSync } from "node:fs";
import { cpus, type } from "node:os";
import { join } from "node:path";

import { handOver, makeReady } from "./cli.js";
import { CODES, PocketllamaError } from "./errors.cjs";
import { baseLock, envsDir, findEnvironment } from "./environment.js";
import { layout, version } from "./paths.js";
import { terminalProgress } from "./progress.js";

const SETUP_HELP = `pocketllama setup [--wheelhouse DIR] [--offline] [--force] [--with LAYERS]

Make the private Python environment and build the engine, which other commands otherwise do when they first need them.

  --wheelhouse DIR  install from the wheels in DIR, without the network
  --offline         use no network
  --force           make it anew even if it is there
  --with LAYERS     bring these too, separated by commas: bench, convert, node, serve, test, zig
`;

const HELP = `pocketllama: run a language model on the computer you already have

  pocketllama "Once upon a time"      continue a text
  pocketllama setup                   make the private Python environment, build the engine (otherwise when first needed)
  pocketllama doctor                  show what was found and what is wrong
  pocketllama version

The environment is not set up yet; once it is, --help lists every command.
`;

/**
 * @param {string[]} args
 * @returns {Promise<number>} the exit code
 */
export async function setup(args) {
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(SETUP_HELP);
    return 0;
  }
  const { values, rest } = takeOptions(args, { "--wheelhouse": true, "--with": true, "--force": false });
  if (rest.length) {
    throw new PocketllamaError(`setup does not know '${rest[0]}'.`, { code: CODES.UsageError, remedy: "See: pocketllama setup --help" });
  }
  const wheelhouse = values["--wheelhouse"];
  if (wheelhouse !== undefined && !statSync(wheelhouse, { throwIfNoEntry: false })?.isDirectory()) {
    throw new PocketllamaError(`The wheelhouse '${wheelhouse}' is not a folder.`, {
      code: CODES.UsageError,
      remedy: "Fill one with: python3 -m pip download --require-hashes --only-binary :all: -r py/locks/base.txt -d DIR",
    });
  }
  const layers = values["--with"]?.split(",").map((name) => name.trim()).filter(Boolean);
  const force = "--force" in values;
  const environment = await makeReady({ wheelhouse, force, layers, engine: true, retry: force });
  console.error(`pocketllama: the environment is ready: ${environment.dir}`);
  return 0;
}

/**
 * Options out of an argument list, as `--name value` or `--name=value`.
 * @param {string[]} args
 * @param {Record<string, boolean>} known name → whether it takes a value
 */
function takeOptions(args, known) {
  /** @type {Record<string, string>} */
  const values = {};
  const rest = [];
  for (let index = 0; index < args.length; index++) {
    const [, name, attached] = /^(--[a-z-]+)(?:=(.*))?$/s.exec(args[index]) ?? [];
    if (!name || !(name in known) || (!known[name] && attached !== undefined)) rest.push(args[index]);
    else if (!known[name]) values[name] = "";
    else {
      const value = attached ?? args[++index];
      if (!value) throw new PocketllamaError(`${name} needs a value.`, { code: CODES.UsageError, remedy: "See: pocketllama setup --help" });
      values[name] = value;
    }
  }
  return { values, rest };
}

/**
 * Run the project's own tests, in a checkout.
 * @param {string[]} args for pytest
 */
export async function test(args) {
  const { root } = layout();
  if (!existsSync(join(root, "tests"))) {
    throw new PocketllamaError("This copy of pocketllama has no tests; they are in its repository.", {
      code: CODES.UsageError,
      remedy: 'To continue the text "test", say: pocketllama run test',
    });
  }
  return handOver(await makeReady({ layers: ["test"] }), "pytest", args, { cwd: root });
}

/**
 * Build the engine, also where that has failed before; Python then says where it is, or all that went wrong.
 * @param {string[]} args
 */
export async function build(args) {
  const progress = { ...terminalProgress(), warn() {} };
  return handOver(await makeReady({ engine: true, retry: true, progress }), "pocketllama", args);
}

/**
 * What was found and what is wrong. Python knows most of it; where there is no Python, Node says what it can.
 * @param {string[]} args
 */
export async function doctor(args) {
  const noSetup = args.includes("--no-setup");
  let problem = null;
  let environment = findEnvironment();
  try {
    if (!noSetup) environment = await makeReady({ engine: true });
  } catch (error) {
    if (!(error instanceof PocketllamaError)) throw error;
    problem = { what: error.message, remedy: error.remedy ?? "" };
  }
  const node = { version: process.version, path: process.execPath };
  const described = {
    path: environment?.dir ?? envsDir(),
    ready: Boolean(environment),
    key: environment?.record.key ?? null,
    lock_sha256: baseLock(),
    ...(environment && { size_bytes: sizeOf(environment.dir) }),
  };
  if (environment) {
    const env = { POCKETLLAMA_DOCTOR: JSON.stringify({ node, environment: described }) };
    return handOver(environment, "pocketllama", ["doctor", ...args.filter((arg) => arg !== "--no-setup")], { env });
  }
  problem ??= { what: "The Python environment is not set up.", remedy: "pocketllama setup" };
  const machine = { x64: "x86_64", ia32: "i386" }[/** @type {string} */ (process.arch)] ?? process.arch;
  const platform = { system: type().replace("_NT", ""), machine, cores: cpus().length };
  const found = { version: version(), platform, node, python: null, environment: described, problems: [problem] };
  if (args.includes("--json")) console.log(JSON.stringify(found, null, 2));
  else {
    console.log(`pocketllama  ${found.version}
machine      ${platform.system} ${platform.machine}, ${platform.cores} cores
node         ${node.version} (${node.path})
python       none
environment  none in ${described.path}

✗ ${problem.what}
  ${problem.remedy.replaceAll("\n", "\n  ")}`);
  }
  return 1;
}

/**
 * Bytes in a folder; links are not followed.
 * @param {string} folder
 * @returns {number}
 */
function sizeOf(folder) {
  let total = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) total += sizeOf(path);
    else if (entry.isFile()) total += statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  }
  return total;
}

/**
 * Help and version, where there is no environment yet and none should be made for that.
 * @param {string[]} args
 */
export function about([what]) {
  process.stdout.write(what.endsWith("version") ? `${version()}\n` : HELP);
  return 0;
}
