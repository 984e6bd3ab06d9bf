"use strict";
// CommonJS, so that `import` and `require` get one and the same class and `instanceof` holds across both.

/**
 * Name and exit code of every JSON-RPC code: the same table as py/pocketllama/errors.py (a test compares the two).
 * @type {Record<number, [kind: string, exitCode: number]>}
 */
const KINDS = {
  [-32000]: ["PocketllamaError", 1],
  [-32602]: ["UsageError", 2],
  [-32010]: ["ContextOverflow", 2],
  [-32011]: ["PromptTooLarge", 2],
  [-32020]: ["ModelError", 3],
  [-32021]: ["ModelNotFound", 3],
  [-32022]: ["ModelInvalid", 3],
  [-32030]: ["DownloadError", 4],
  [-32031]: ["DownloadCorrupt", 4],
  [-32032]: ["OfflineError", 4],
  [-32040]: ["StorageError", 5],
  [-32050]: ["EngineError", 6],
  [-32051]: ["EngineClosed", 6],
  [-32052]: ["OutOfMemory", 6],
  [-32060]: ["RunnerError", 7],
  [-32070]: ["Busy", 8],
  [-32080]: ["UnsafeFile", 9],
  [-32090]: ["MessageTooLarge", 1],
  [-32800]: ["Cancelled", 130],
  [-32700]: ["ParseError", 1],
  [-32600]: ["InvalidRequest", 1],
  [-32601]: ["MethodNotFound", 1],
  [-32603]: ["InternalError", 1],
};

/** The code of each kind, for the places that raise one. @type {Record<string, number>} */
const CODES = Object.fromEntries(Object.entries(KINDS).map(([code, [kind]]) => [kind, Number(code)]));

/**
 * A failure with its cause and, where there is one, the remedy: the only error class that this library raises on
 * purpose, besides TypeError for a wrong argument and AbortError for an aborted signal.
 */
class PocketllamaError extends Error {
  /**
   * @param {string} message what happened and why, in a sentence or two
   * @param {{ code?: number, remedy?: string, data?: object, cause?: unknown }} [details]
   */
  constructor(message, { code = CODES.PocketllamaError, remedy, data, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.remedy = remedy;
    this.data = data ?? {};
  }

  /** The name of the code, such as "ModelNotFound"; what Python calls the class. */
  get kind() {
    return KINDS[this.code]?.[0] ?? "PocketllamaError";
  }

  /** What the command line exits with. */
  get exitCode() {
    return KINDS[this.code]?.[1] ?? 1;
  }

  /** The message and the remedy, as a terminal shows them. */
  describe() {
    return this.remedy ? `${this.message}\n  ${this.remedy.replaceAll("\n", "\n  ")}` : this.message;
  }
}
Object.defineProperty(PocketllamaError.prototype, "name", { value: "PocketllamaError", configurable: true });

exports.CODES = CODES;
exports.KINDS = KINDS;
exports.PocketllamaError = PocketllamaError;
