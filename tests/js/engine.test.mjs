// Whether the engine is to be built is told by its sources and by the processor that it is built for.
import assert from "node:assert/strict";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { test } from "node:test";

import { sourcesStamp } from "../../js/engine.js";

/** The stamp on a machine with this file at its beginning. @param {string} cpuinfo */
function stampOn(cpuinfo) {
  const { readSync } = fs;
  // @ts-expect-error: only what js/engine.js asks for
  fs.readSync = (_, buffer) => buffer.write(cpuinfo, "latin1");
  syncBuiltinESMExports();
  try {
    return sourcesStamp();
  } finally {
    fs.readSync = readSync;
    syncBuiltinESMExports();
  }
}

test("another processor, another stamp", { skip: process.platform !== "linux" && "only Linux names all that a processor has" }, () => {
  const haswell = stampOn("processor\t: 0\ncpu MHz\t: 2400\nflags\t\t: fpu avx2\n\n");
  assert.match(haswell ?? "", /^[0-9a-f]{64}$/);
  assert.equal(stampOn("processor\t: 0\ncpu MHz\t: 800\nflags\t\t: fpu avx2\n\nprocessor\t: 1\n"), haswell);
  assert.notEqual(stampOn("processor\t: 0\nflags\t\t: fpu avx2 avx512f\n"), haswell);
  assert.notEqual(stampOn("processor\t: 0\nFeatures\t: fp asimd\n"), stampOn("processor\t: 0\nFeatures\t: fp asimd asimddp\n"));
  assert.equal(sourcesStamp(), sourcesStamp());
});
