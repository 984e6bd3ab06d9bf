// node tests/bench/startup.mjs [ROUNDS]: what the npx entry adds to a warm start.
//
// Starts `pocketllama version` through Node and by the environment's Python directly, turn by turn, and prints medians.
// Times of a busy machine are worth little; compare numbers of one run only.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { findEnvironment, pythonEnv, runModule } from "../../js/environment.js";

const environment = findEnvironment();
if (!environment) {
  console.error("There is no environment yet. Run: node bin/pocketllama.js setup");
  process.exit(1);
}
const { python, record } = environment;
const WAYS = {
  "python": [python, ...runModule(record.version, "pocketllama"), "version"],
  "node + python": [process.execPath, fileURLToPath(new URL("../../bin/pocketllama.js", import.meta.url)), "version"],
  "node -e 0": [process.execPath, "-e", "0"],
};

const rounds = Number(process.argv[2] ?? 25);
const times = Object.fromEntries(Object.keys(WAYS).map((name) => [name, []]));
for (let round = -1; round < rounds; round++) {
  for (const [name, [command, ...args]] of Object.entries(WAYS)) {
    const start = performance.now();
    const { status } = spawnSync(command, args, { env: pythonEnv() });
    if (status !== 0) throw new Error(`${name} failed`);
    if (round >= 0) times[name].push(performance.now() - start); // the first round warms the disk cache
  }
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const found = Object.fromEntries(Object.entries(times).map(([name, values]) => [name, median(values)]));
for (const [name, value] of Object.entries(found)) console.log(`${name.padEnd(16)} ${value.toFixed(0).padStart(5)} ms`);
console.log(`${"added by node".padEnd(16)} ${(found["node + python"] - found.python).toFixed(0).padStart(5)} ms  (median of ${rounds}; goal: under 150)`);
