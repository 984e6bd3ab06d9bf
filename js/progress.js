// What a person sees while the environment is made and the engine built: on a terminal one line that changes, elsewhere one line a step.

/** @typedef {{ step(text: string): void, detail(text: string): void, warn(text: string): void, end(text?: string): void }} Progress */

const warn = (/** @type {string} */ text) => void process.stderr.write(`pocketllama: ${text}\n`);

/** Says nothing, except what has gone wrong. @type {Progress} */
export const silent = { step() {}, detail() {}, warn, end() {} };

/**
 * @param {NodeJS.WriteStream} [stream]
 * @returns {Progress}
 */
export function terminalProgress(stream = process.stderr) {
  const live = Boolean(stream.isTTY) && process.env.TERM !== "dumb";
  let current = "";
  /** @param {string} text */
  const show = (text) => {
    const width = Math.max(20, stream.columns || 80);
    stream.write(`\r\x1b[K${text.length < width ? text : `${text.slice(0, width - 2)}…`}`);
  };
  return {
    step(text) {
      current = `pocketllama: ${text} …`;
      if (live) show(current);
      else stream.write(`${current}\n`);
    },
    detail(text) {
      if (live) show(`${current} ${text}`);
    },
    warn(text) {
      this.end(text);
    },
    end(text) {
      if (live && current) stream.write("\r\x1b[K");
      if (text) stream.write(`pocketllama: ${text}\n`);
      current = "";
    },
  };
}
