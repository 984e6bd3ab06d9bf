// What the reader can choose. A field that is left empty is not sent: then the server's own default holds.

/**
 * @typedef {{ name: string, label: string, help: string, min: number, max: number, whole?: boolean }} Field
 */

/** The sampling settings, under the names that the API has for them. @type {Field[]} */
export const SAMPLING = [
  { name: "temperature", label: "Temperature", help: "0: the likeliest text. 1: variety.", min: 0, max: 2 },
  {
    name: "top_p",
    label: "Top-p",
    help: "Choose among the likeliest tokens that together have this probability.",
    min: 0.05,
    max: 1,
  },
  {
    name: "top_k",
    label: "Top-k",
    help: "Choose among this many likeliest tokens. 0: all.",
    min: 0,
    max: 1000,
    whole: true,
  },
  {
    name: "repetition_penalty",
    label: "Repetition penalty",
    help: "1: none. More: what was said recently becomes less likely.",
    min: 0.5,
    max: 2,
  },
  {
    name: "max_tokens",
    label: "Longest answer",
    help: "In tokens; a token is about four letters.",
    min: 1,
    max: 1_000_000,
    whole: true,
  },
  {
    name: "seed",
    label: "Seed",
    help: "The same seed and the same conversation give the same answer.",
    min: 0,
    max: 4_294_967_295,
    whole: true,
  },
];

export const THEMES = /** @type {const} */ (["system", "light", "dark"]);

/**
 * @typedef {{
 *   model: string, system: string, stop: string, theme: typeof THEMES[number], sampling: { [name: string]: number },
 * }} Settings `model` and `theme` are what was chosen last; `stop` has one text a line
 */

/** @returns {Settings} */
export function defaults() {
  return { model: "", system: "", stop: "", theme: "system", sampling: {} };
}

/**
 * A number as a field takes it, or undefined where it is none.
 * @param {Field} field
 * @param {unknown} value
 * @returns {number | undefined}
 */
export function accept(field, value) {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number !== "number" || !(number >= field.min && number <= field.max)) return undefined;
  return field.whole && !Number.isInteger(number) ? undefined : number;
}

/**
 * Settings of stored text; whatever is damaged or unknown is left out.
 * @param {string | null} text
 * @returns {Settings}
 */
export function parse(text) {
  const settings = defaults();
  let stored;
  try {
    stored = JSON.parse(text ?? "{}");
  } catch {
    return settings;
  }
  if (typeof stored !== "object" || stored === null) return settings;
  for (const key of /** @type {const} */ (["model", "system", "stop"])) {
    if (typeof stored[key] === "string") settings[key] = stored[key];
  }
  if (THEMES.includes(stored.theme)) settings.theme = stored.theme;
  for (const field of SAMPLING) {
    const number = accept(field, stored.sampling?.[field.name]);
    if (number !== undefined) settings.sampling[field.name] = number;
  }
  return settings;
}

/**
 * The fields of a request that these settings add.
 * @param {Settings} settings
 * @returns {{ [name: string]: number | string[] }}
 */
export function toRequest(settings) {
  const stop = settings.stop.split("\n").filter((line) => line !== "");
  return stop.length ? { ...settings.sampling, stop } : { ...settings.sampling };
}
