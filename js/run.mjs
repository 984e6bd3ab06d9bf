// node js/run.mjs SCRIPT [ARGS…]: run a script in which `import "pocketllama"` works.

import { spawn } from "node:child_process";
import module from "node:module";
import { constants } from "node:os";
import { resolve } from "node:path";

const [script, ...args] = process.argv.slice(2);
if (!script) {
  console.error("pocketllama js needs a SCRIPT.");
  process.exit(2);
}
const registration = new URL("register.mjs", import.meta.url);

if ("register" in module) {
  await import(registration.href);
  process.argv = [process.argv[0], resolve(script), ...args];
  /** @type {any} */ (module).runMain(); // as `node SCRIPT` does, in this process
} else {
  // Before Node 18.19 and 20.6, hooks can only be named on the command line.
  const flags = ["--no-warnings", "--experimental-loader", registration.href];
  const child = spawn(process.execPath, [...flags, resolve(script), ...args], { stdio: "inherit" });
  process.on("SIGINT", () => {}); // the terminal tells both
  for (const name of /** @type {const} */ (["SIGTERM", "SIGHUP"])) process.on(name, () => child.kill(name));
  child.on("exit", (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code ?? 1));
}
