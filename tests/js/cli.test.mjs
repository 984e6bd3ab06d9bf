import assert from "node:assert/strict";
import test from "node:test";

import { parse } from "../../js/cli.js";
import { layerRequirements, LAYERS } from "../../js/layers.js";
import { parseLock } from "../../js/install.js";
import { dataDir, layout } from "../../js/paths.js";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const CASES = [
  [["Once"], "Once", ["Once"], false],
  [["--offline", "Once"], "Once", ["Once"], true],
  [["run", "Once", "--offline", "-n", "3"], "run", ["run", "Once", "-n", "3"], true],
  [["run", "--", "--offline"], "run", ["run", "--", "--offline"], false],
  [["--offline", "run", "--", "--offline"], "run", ["run", "--", "--offline"], true],
  [["js", "a.mjs", "--offline", "x"], "js", ["js", "a.mjs", "--offline", "x"], false],
  [["js", "--offline", "a.mjs", "--offline"], "js", ["js", "a.mjs", "--offline"], true],
  [["--offline", "js", "a.mjs"], "js", ["js", "a.mjs"], true],
  [["-n", "3"], "-n", ["-n", "3"], false],
  [["", "a b", "None", "[1, 2]", "é\n"], "", ["", "a b", "None", "[1, 2]", "é\n"], false],
  [[], "", [], false],
];
test("the command line goes to Python as it is, less --offline", () => {
  for (const [argv, verb, args, offline] of CASES) assert.deepEqual(parse(argv), { verb, args, offline }, JSON.stringify(argv));
});

test("the data directory follows the platform's convention", () => {
  assert.equal(dataDir({ POCKETLLAMA_HOME: "/x y/é" }, "linux"), "/x y/é");
  assert.equal(dataDir({ XDG_DATA_HOME: "/data" }, "linux"), "/data/pocketllama");
  assert.equal(dataDir({ XDG_DATA_HOME: "relative" }, "linux"), join(homedir(), ".local/share/pocketllama"));
  assert.equal(dataDir({}, "linux"), join(homedir(), ".local/share/pocketllama"));
  assert.equal(dataDir({ XDG_DATA_HOME: "/data" }, "darwin"), join(homedir(), "Library", "Application Support", "pocketllama"));
  assert.equal(dataDir({ LOCALAPPDATA: "/local" }, "win32"), join("/local", "pocketllama"));
});

const locked = (layer) => parseLock(readFileSync(join(layout().locks, `${layer}.txt`), "utf8"));

test("a lock is read whole", () => {
  const base = locked("base");
  assert.ok(base.some(({ name }) => name === "ctransformers"));
  const text = readFileSync(join(layout().locks, "base.txt"), "utf8");
  assert.equal(base.map(({ lines }) => lines).join(""), text.slice(text.indexOf(base[0].lines)));
  for (const { name, lines } of base) assert.match(lines, /--hash=sha256:[0-9a-f]{64}/, name);
});

test("a layer adds what is below it, at no other version", () => {
  for (const [layer, below] of Object.entries(LAYERS)) {
    const versions = new Map();
    for (const part of ["base", ...below]) {
      for (const { name, version } of locked(part)) versions.set(name, [...(versions.get(name) ?? []), version]);
    }
    const added = parseLock(layerRequirements(layer).requirements);
    for (const { name, version } of added) assert.ok(!versions.has(name), `${layer}: ${name} ${version}, but below it ${versions.get(name)}`);
    assert.ok(added.length > 0);
    // Together they are the layer's lock.
    for (const { name, version } of locked(layer)) {
      assert.ok(versions.get(name)?.includes(version) || added.some((one) => one.name === name && one.version === version), `${layer}: ${name}`);
    }
  }
});
