// An answer as DOM nodes, while it grows: only the last block is made anew, whatever the length of the whole.

import { copy } from "./clipboard.js";
import { h, icon } from "./dom.js";
import { parse } from "./markdown.js";
import { reveal } from "./visible.js";

/** How much of the time the drawing of a growing answer may take: a tenth. */
const REST = 9;

/** A reference definition, such as `[name]: address`. */
const DEFINITION = /^ {0,3}\[[^\]\n]+\]:/m;

export class AnswerView {
  element = h("div", { class: "answer" });
  #source = "";
  /** Where the blocks start that may still change, in the source and among the element's children. */
  #settled = 0;
  #nodes = 0;
  #frame = 0;
  #earliest = 0;

  /** @param {() => void} drawn is called after each change of the element */
  constructor(drawn = () => {}) {
    this.drawn = drawn;
  }

  /**
   * Show a longer text, soon.
   * @param {string} source what was shown before, and more
   */
  grow(source) {
    this.#source = source;
    if (!this.#frame) this.#frame = requestAnimationFrame((now) => this.#tick(now));
  }

  /**
   * Show a whole text, now.
   * @param {string} source
   */
  show(source) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    // What was drawn while it grew holds, unless a later line says where earlier links lead.
    if (!source.startsWith(this.#source) || DEFINITION.test(source)) this.#settled = this.#nodes = 0;
    this.#source = source;
    this.#draw();
  }

  /** @param {number} now */
  #tick(now) {
    if (now < this.#earliest) {
      this.#frame = requestAnimationFrame((later) => this.#tick(later));
      return;
    }
    this.#frame = 0;
    const start = performance.now();
    this.#draw();
    const end = performance.now();
    this.#earliest = end + (end - start) * REST;
  }

  #draw() {
    const { blocks, last } = parse(this.#source.slice(this.#settled));
    const nodes = blocks.map(build);
    const old = [...this.element.childNodes].slice(this.#nodes);
    const only = blocks[blocks.length - 1];
    if (nodes.length === 1 && old.length === 1 && typeof only === "object" && "code" in only) {
      // A block of code that grows keeps its element, so that what is selected or scrolled in it stays.
      if (growCode(old[0], only.code, only.language)) return this.drawn();
    }
    for (const node of old) node.remove();
    this.element.append(...nodes);
    if (nodes.length > 1 && last > 0) {
      this.#settled += last;
      this.#nodes += nodes.length - 1;
    }
    this.drawn();
  }
}

/**
 * @param {import("./markdown.js").Node} node
 * @returns {Node}
 */
function build(node) {
  if (typeof node === "string") return prose(node);
  if ("code" in node) return codeBlock(node.code, node.language);
  /** @type {(string | Node)[]} */
  const children =
    node.tag === "code" ? node.children.flatMap((text) => shown(String(text), true)) : node.children.map(build);
  if (node.tag === "a") return link(node.attrs ?? {}, children);
  const element = h(/** @type {keyof HTMLElementTagNameMap} */ (node.tag), node.attrs ?? {}, ...children);
  // Each block finds its own direction, so that one line of Arabic does not turn the next.
  if (/^(p|h\d|li|t[dh]|blockquote)$/.test(node.tag)) element.dir = "auto";
  return node.tag === "table"
    ? h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" }, element)
    : element;
}

/** @param {string} text */
function prose(text) {
  const pieces = shown(text, false);
  if (pieces.length === 1 && typeof pieces[0] === "string") return document.createTextNode(pieces[0]);
  const fragment = document.createDocumentFragment();
  fragment.append(...pieces);
  return fragment;
}

/**
 * @param {string} text
 * @param {boolean} code
 * @returns {(string | HTMLElement)[]}
 */
function shown(text, code) {
  return reveal(text, code).map((piece) =>
    typeof piece === "string" ? piece : h("span", { class: "invisible", title: piece.name }, piece.label),
  );
}

/**
 * @param {Record<string, string>} attributes
 * @param {(string | Node)[]} children
 */
function link(attributes, children) {
  const { href } = attributes;
  // Where it leads is said before anybody follows it; the other side learns nothing of this page.
  return h(
    "a",
    { ...attributes, title: href.slice(0, 300), target: "_blank", rel: "noopener noreferrer nofollow" },
    ...children,
  );
}

/**
 * @param {string} code
 * @param {string} language
 */
function codeBlock(code, language) {
  const text = h("code", {}, ...shown(code, true));
  const label = h("span", {}, "Copy");
  const button = h("button", { type: "button", class: "quiet" }, icon("copy"), label);
  const block = h(
    "figure",
    { class: "code", "data-language": language },
    h("figcaption", {}, h("span", {}, language || "text"), button),
    h("pre", { dir: "ltr", tabindex: "0", "aria-label": language ? `Code in ${language}` : "Code" }, text),
  );
  sources.set(block, code);
  button.addEventListener("click", async () => {
    label.textContent = (await copy(sources.get(block) ?? "")) ? "Copied" : "Not copied";
    setTimeout(() => (label.textContent = "Copy"), 2000);
  });
  return block;
}

/** What is copied of a block: the characters that it was made of, not their names. @type {WeakMap<Node, string>} */
const sources = new WeakMap();

/**
 * @param {ChildNode} block
 * @param {string} code
 * @param {string} language
 * @returns {boolean} whether the block showed a beginning of this code, and shows it all now
 */
function growCode(block, code, language) {
  const before = sources.get(block);
  if (before === undefined || !(block instanceof HTMLElement) || block.dataset.language !== language) return false;
  if (!code.startsWith(before)) return false;
  if (code.length > before.length) block.querySelector("code")?.append(...shown(code.slice(before.length), true));
  sources.set(block, code);
  return true;
}
