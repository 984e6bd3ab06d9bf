// Characters that are not seen but change what is seen.

// Overrides and embeddings reorder what follows them ("Trojan source"); no text of today needs them, isolates do it.
const OVERRIDES = /[\u202A-\u202E]/;
// In code, whatever has no width or turns the order lies about what a compiler reads.
const IN_CODE =
  /[\u00AD\u061C\u180E\u200B-\u200F\u202A-\u202E\u2060-\u2064\u2066-\u206F\uFEFF\uFFF9-\uFFFB\u{E0000}-\u{E007F}]/u;

/** @type {Record<number, string>} */
const NAMES = {
  0xad: "soft hyphen",
  0x200b: "zero-width space",
  0x200c: "zero-width non-joiner",
  0x200d: "zero-width joiner",
  0x200e: "left-to-right mark",
  0x200f: "right-to-left mark",
  0x202a: "left-to-right embedding",
  0x202b: "right-to-left embedding",
  0x202c: "pop directional formatting",
  0x202d: "left-to-right override",
  0x202e: "right-to-left override",
  0x2060: "word joiner",
  0x2066: "left-to-right isolate",
  0x2067: "right-to-left isolate",
  0x2068: "first strong isolate",
  0x2069: "pop directional isolate",
  0xfeff: "zero-width no-break space",
};

/**
 * A text cut where a character would deceive: pieces to show as they are, and characters to show by their name.
 * @param {string} text
 * @param {boolean} [code] in code every invisible character is named; in prose, joiners and marks are what words
 *   of Persian, Hindi or Hebrew and emoji consist of, and stay
 * @returns {(string | { character: string, label: string, name: string })[]} joined, the characters are the text
 */
export function reveal(text, code = false) {
  const pattern = code ? IN_CODE : OVERRIDES;
  if (!pattern.test(text)) return text === "" ? [] : [text];
  /** @type {ReturnType<typeof reveal>} */
  const pieces = [];
  let plain = "";
  for (const character of text) {
    if (!pattern.test(character)) {
      plain += character;
      continue;
    }
    if (plain) pieces.push(plain);
    plain = "";
    const point = /** @type {number} */ (character.codePointAt(0));
    const label = `U+${point.toString(16).toUpperCase().padStart(4, "0")}`;
    pieces.push({ character, label, name: NAMES[point] ?? "invisible character" });
  }
  if (plain) pieces.push(plain);
  return pieces;
}
