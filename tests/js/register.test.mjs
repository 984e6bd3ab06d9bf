// `import "pocketllama"` in a script that lies anywhere.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { FAKE } from "./helpers.mjs";

const RUN = fileURLToPath(new URL("../../js/run.mjs", import.meta.url));
const BODY = `
  const llm = await load();
  console.log(await llm.complete("count:2").text(), JSON.stringify(process.argv.slice(2)));
  await llm.close();
`;

/** Run a script of this name and content by js/run.mjs. */
function run(name, content, args = []) {
  const folder = mkdtempSync(join(tmpdir(), "pocketllama é "));
  try {
    writeFileSync(join(folder, name), content);
    const env = { ...process.env, POCKETLLAMA_RUNNER: JSON.stringify(FAKE) };
    return spawnSync(process.execPath, [RUN, name, ...args], { cwd: folder, env, encoding: "utf8" });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("an ES module", () => {
  const { stdout, stderr, status } = run("story.mjs", `import { load } from "pocketllama";${BODY}`, ["--offline", "a b"]);
  assert.deepEqual([stdout, stderr, status], ['word0 word1  ["--offline","a b"]\n', "", 0]);
});

test("a CommonJS script, which is the main module", () => {
  const { stdout, stderr, status } = run("story.cjs", `const { load } = require("pocketllama"); if (require.main === module) (async () => {${BODY}})();`);
  assert.deepEqual([stdout, stderr, status], ["word0 word1  []\n", "", 0]);
});

test("the script's exit code and failure are its own", () => {
  assert.equal(run("story.mjs", "process.exit(7)").status, 7);
  const failed = run("story.mjs", 'import "nothing-of-this-name";');
  assert.equal(failed.status, 1);
  assert.match(failed.stderr, /ERR_MODULE_NOT_FOUND/);
  assert.equal(spawnSync(process.execPath, [RUN], { encoding: "utf8" }).status, 2);
});
