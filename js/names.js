// Names: JavaScript writes camelCase, the protocol snake_case.

/**
 * A mistyped option that is silently ignored is found late: name it.
 * @param {string} where
 * @param {object} options
 * @param {string[]} known
 */
export function checkOptions(where, options, known) {
  if (typeof options !== "object" || options === null) throw new TypeError(`${where}() takes its options as an object.`);
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`${where}() has no option '${name}'. It has: ${known.join(", ")}.`);
  }
}

/**
 * A value of the protocol with camelCase keys, all the way down.
 * @param {any} value
 * @returns {any}
 */
export function camel(value) {
  if (Array.isArray(value)) return value.map(camel);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [
    key.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase()), camel(inner),
  ]));
}

/**
 * An option's name as the protocol writes it: lastNTokens → last_n_tokens.
 * @param {string} name
 */
export const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
