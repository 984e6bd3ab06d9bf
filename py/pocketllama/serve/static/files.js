// Files to and from the reader's disk.

import { h } from "./dom.js";

/**
 * Offer a text as a download.
 * @param {string} name
 * @param {string} text
 */
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/**
 * A file name of a conversation's name: what any file system takes.
 * @param {string} name
 */
export function fileName(name) {
  const word = name
    .normalize("NFC")
    .replace(/[^\p{L}\p{M}\p{N}]+/gu, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 50)
    .toLowerCase();
  return `pocketllama-${word || "chat"}.json`;
}
