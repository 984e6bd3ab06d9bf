// Building elements. Text always goes in as text: nothing in this page parses HTML, and its policy forbids it.

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * An element with its attributes and children.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | boolean | ((event: any) => void)>} [attributes] a function is a listener, under its
 *   event's name; true is an attribute without a value, false is none
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} name of a symbol in index.html */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button that is an icon.
 * @param {string} name
 * @param {string} label
 * @param {(event: MouseEvent) => void} click
 */
export function iconButton(name, label, click) {
  return h("button", { type: "button", class: "icon", "aria-label": label, title: label, click }, icon(name));
}

/**
 * A sentence of ours as nodes: what stands between backticks is code.
 * @param {string} sentence
 */
export function withCode(sentence) {
  return sentence.split("`").map((piece, i) => (i % 2 ? h("code", {}, piece) : piece));
}

/**
 * The element of index.html with this id.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {{ new (): T }} type
 * @returns {T}
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new TypeError(`index.html has no ${type.name} #${id}`);
  return element;
}
