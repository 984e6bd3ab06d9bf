// Markdown to a tree of a few known elements. Nothing here makes HTML: markdown-it gives tokens, and each token that
// has a place in the tables below becomes a node; all else is text. answer_view.js makes DOM nodes of the tree.

import MarkdownIt from "./vendor/markdown-it.js";

/**
 * @typedef {{ tag: string, attrs?: Record<string, string>, children: Node[] }} Element
 * @typedef {{ code: string, language: string }} Code a block of code
 * @typedef {string | Element | Code} Node
 */

/** Every element that an answer can consist of, besides blocks of code. */
export const TAGS = new Set(
  "p h3 h4 h5 h6 ul ol li blockquote hr table thead tbody tr th td em strong s code a br".split(" "),
);

/** The schemes that a link may have. Anything else, `javascript:` above all, stays the text that it is. */
const SCHEMES = new Set(["http:", "https:", "mailto:"]);

/**
 * The longest stretch without an empty line, outside of code, that is parsed. Of some hostile texts the parser's time
 * grows with the square of their length (a table of 5,000 columns is the worst known); real paragraphs are a hundred
 * times shorter.
 */
export const LONGEST_BLOCK = 20_000;

const markdown = new MarkdownIt({ html: false, linkify: true, maxNesting: 50 });
// Only what is plainly an address: `main.py` and `a@b` are not.
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
// Our own check of links is stricter (an allow-list) and keeps the text of a refused one.
markdown.validateLink = () => true;

/**
 * The address as a link may have it, or undefined where it is refused.
 * @param {string} href
 * @returns {string | undefined}
 */
export function safeLink(href) {
  try {
    const url = new URL(href); // relative addresses have no base here, and are refused with the rest
    return SCHEMES.has(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whether a text has a stretch that is too long to be parsed.
 * @param {string} source
 */
function tooLong(source) {
  if (source.length <= LONGEST_BLOCK) return false;
  let stretch = 0;
  let fence = "";
  for (const line of source.split("\n")) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1] ?? "";
    if (fence) {
      if (mark.startsWith(fence)) fence = "";
      continue;
    }
    if (mark) {
      fence = mark;
      stretch = 0;
    } else if (line.trim() === "") stretch = 0;
    else stretch += line.length + 1;
    if (stretch > LONGEST_BLOCK) return true;
  }
  return false;
}

/**
 * A text in Markdown (CommonMark, with tables and ~~strikethrough~~) as blocks.
 * @param {string} source
 * @returns {{ blocks: Node[], last: number }} `last`: where the last block starts in `source`. What stands before
 *   it does not change when more text follows, except by reference definitions (`[name]: address`).
 */
export function parse(source) {
  if (tooLong(source)) return { blocks: [{ tag: "p", attrs: { class: "verbatim" }, children: [source] }], last: 0 };
  const tokens = markdown.parse(source, {});
  let line = 0;
  for (const token of tokens) if (token.level === 0 && token.nesting >= 0 && token.map) line = token.map[0];
  return { blocks: tree(tokens), last: offset(source, line) };
}

/**
 * Where a line starts.
 * @param {string} source
 * @param {number} line counted from 0
 */
function offset(source, line) {
  let at = 0;
  for (; line > 0; line--) at = source.indexOf("\n", at) + 1;
  return at;
}

/** @typedef {import("./vendor/markdown-it.js").Token} Token */

/**
 * @param {Token[]} tokens flat: what opens, what is inside, what closes
 * @returns {Node[]}
 */
function tree(tokens) {
  /** @type {Node[]} */
  const root = [];
  /** @type {Node[][]} */
  const stack = [root];
  for (const token of tokens) {
    const top = stack[stack.length - 1];
    if (token.nesting === 1) {
      const children = /** @type {Node[]} */ ([]);
      stack.push(children);
      const node = opened(token, children);
      if (node) top.push(node);
      else stack[stack.length - 1] = top; // not an element of ours: its content takes its place
    } else if (token.nesting === -1) {
      if (stack.length > 1) stack.pop();
    } else top.push(...single(token));
  }
  return root;
}

/**
 * @param {Token} token
 * @param {Node[]} children
 * @returns {Element | undefined}
 */
function opened(token, children) {
  // In the page, the conversation's own headings are of the second level.
  const tag = token.type === "heading_open" ? `h${Math.min(6, Number(token.tag[1]) + 2)}` : token.tag;
  if (!TAGS.has(tag) || token.hidden) return undefined;
  if (tag === "a") {
    const href = safeLink(String(token.attrGet("href") ?? ""));
    return href === undefined ? undefined : { tag, attrs: { href }, children };
  }
  /** @type {Record<string, string>} */
  const attrs = {};
  const start = Number(token.attrGet("start") ?? 1);
  if (tag === "ol" && Number.isInteger(start) && start !== 1) attrs.start = String(start);
  const align = /^text-align:(left|center|right)$/.exec(String(token.attrGet("style") ?? ""))?.[1];
  if ((tag === "th" || tag === "td") && align) attrs.class = `align-${align}`;
  return Object.keys(attrs).length ? { tag, attrs, children } : { tag, children };
}

/**
 * @param {Token} token one without an end of its own
 * @returns {Node[]}
 */
function single(token) {
  switch (token.type) {
    case "inline":
      return tree(token.children ?? []);
    case "softbreak": // models break lines where they mean it: in verse, in addresses
    case "hardbreak":
      return [{ tag: "br", children: [] }];
    case "hr":
      return [{ tag: "hr", children: [] }];
    case "code_inline":
      return [{ tag: "code", children: [token.content] }];
    case "code_block":
      return [{ code: token.content, language: "" }];
    case "fence":
      return [{ code: token.content, language: language(token.info) }];
    case "image":
      return image(token);
    default:
      return token.content ? [token.content] : [];
  }
}

/** @param {string} info what stands behind a fence */
function language(info) {
  return /^[\w+#.-]{1,24}/.exec(info.trim())?.[0] ?? "";
}

/**
 * A picture is never fetched: its address alone could carry what was said to a stranger. It becomes a link.
 * @param {Token} token
 * @returns {Node[]}
 */
function image(token) {
  const text = token.content || "image";
  const href = safeLink(String(token.attrGet("src") ?? ""));
  return href === undefined ? [text] : [{ tag: "a", attrs: { href, class: "picture" }, children: [text] }];
}
