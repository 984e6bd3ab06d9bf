// The page's renderer without a page: what an answer becomes, and what it can never become.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { LONGEST_BLOCK, parse, safeLink, TAGS } from "../../py/pocketllama/serve/static/markdown.js";
import { reveal } from "../../py/pocketllama/serve/static/visible.js";
import { HOSTILE } from "../page/hostile.mjs";

/** A short notation of a tree: `p(one em(two))`. */
function brief(nodes) {
  return nodes
    .map((node) => {
      if (typeof node === "string") return node;
      if ("code" in node) return `code:${node.language}<${node.code}>`;
      const attrs = Object.entries(node.attrs ?? {}).map(([key, value]) => `[${key}=${value}]`);
      return `${node.tag}${attrs.join("")}(${brief(node.children)})`;
    })
    .join("");
}
const rendered = (source) => brief(parse(source).blocks);

test("the elements of Markdown", () => {
  const cases = [
    ["one *two* **three** `4` ~~five~~", "p(one em(two) strong(three) code(4) s(five))"],
    ["# a\n## b\n###### c", "h3(a)h4(b)h6(c)"],
    ["- a\n- b\n  1. c", "ul(li(a)li(bol(li(c))))"],
    ["3. a", "ol[start=3](li(a))"],
    ["- a\n\n- b", "ul(li(p(a))li(p(b)))"],
    ["> a\n> b", "blockquote(p(abr()b))"],
    ["a  \nb", "p(abr()b)"],
    ["---", "hr()"],
    ["```c++\nint x;\n```", "code:c++<int x;\n>"],
    ["```\nstill writ", "code:<still writ>"],
    ["    indented", "code:<indented\n>"],
    [
      "|a|b|\n|:-|-:|\n|1|2|",
      "table(thead(tr(th[class=align-left](a)th[class=align-right](b)))tbody(tr(td[class=align-left](1)td[class=align-right](2))))",
    ],
    ["[a](https://b.example/ 't')", "p(a[href=https://b.example/](a))"],
    ["see https://b.example/x.", "p(see a[href=https://b.example/x](https://b.example/x).)"],
    ["main.py and a@b.example stay", "p(main.py and a@b.example stay)"],
    ["[a]\n\n[a]: https://b.example", "p(a[href=https://b.example/](a))"],
    ["", ""],
  ];
  for (const [source, expected] of cases) assert.equal(rendered(source), expected, source);
});

test("HTML is text", () => {
  for (const source of [
    "<b>a</b>",
    "<script>alert(1)</script>",
    "a <img src=x onerror=alert(1)> b",
    "<!-- a -->",
    "<div>\n\n*a*",
  ]) {
    assert.ok(rendered(source).includes("<"), source);
  }
  assert.equal(rendered("<b>a</b>"), "p(<b>a</b>)");
  assert.equal(rendered("&lt;b&gt; &amp;"), "p(<b> &)");
});

test("links lead to the web or to mail, and nowhere else", () => {
  const refused = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\nscript:alert(1)",
    "java\tscript:alert(1)",
    "\u0001javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "blob:https://a/b",
    "about:blank",
    "ws://a/",
    "/etc",
    "//a.example",
    "#x",
    "?x",
    "x",
    "",
    "https://",
    "http://[",
    "view-source:https://a.example",
  ];
  for (const href of refused) assert.equal(safeLink(href), undefined, JSON.stringify(href));
  for (const href of ["https://a.example/", "http://127.0.0.1:8080/x?y#z", "mailto:a@b.example"])
    assert.equal(safeLink(href), href);
  assert.equal(rendered("[a](javascript:alert`1`)"), "p(a)");
  assert.equal(rendered("[a](&#106;avascript:alert`1`)"), "p(a)");
  assert.equal(rendered("<javascript:alert`1`>"), "p(javascript:alert`1`)");
  assert.equal(rendered("[*a*](data:x)"), "p(em(a))");
});

test("a picture is a link that nobody has followed yet", () => {
  assert.equal(rendered("![alt](https://a.example/p.png)"), "p(a[href=https://a.example/p.png][class=picture](alt))");
  assert.equal(rendered("![](https://a.example/p.png)"), "p(a[href=https://a.example/p.png][class=picture](image))");
  assert.equal(rendered("![alt](javascript:x)"), "p(alt)");
  assert.equal(rendered("![alt](data:image/svg+xml;base64,AA)"), "p(alt)");
});

/** Every node of a tree has a tag, attributes and values that are known to be harmless. */
function check(nodes) {
  for (const node of nodes) {
    if (typeof node === "string") continue;
    if ("code" in node) {
      assert.match(node.language, /^[\w+#.-]*$/);
      assert.deepEqual(Object.keys(node).sort(), ["code", "language"]);
      continue;
    }
    assert.ok(TAGS.has(node.tag), node.tag);
    for (const [name, value] of Object.entries(node.attrs ?? {})) {
      if (name === "href") assert.match(value, /^(https?:\/\/|mailto:)/);
      else if (name === "start") assert.match(value, /^\d+$/);
      else if (name === "class") assert.match(value, /^(picture|verbatim|align-(left|center|right))$/);
      else assert.fail(`${node.tag} has ${name}`);
    }
    check(node.children);
  }
}

test("whatever a model says, only known elements come of it", () => {
  for (const source of HOSTILE) check(parse(source).blocks);
  // And what a fuzzer says: pieces of markup in any order, by a generator that is the same each time.
  const pieces = [
    "<",
    ">",
    "[",
    "]",
    "(",
    ")",
    "!",
    "*",
    "_",
    "`",
    "```",
    "~~~",
    "\n",
    "\n\n",
    "# ",
    "> ",
    "- ",
    "1. ",
    "|",
    "|-|",
    "\\",
    "&lt;",
    "&#x6a;",
    "javascript:",
    "https://a.example",
    "data:text/html,",
    "<script>",
    "onerror=",
    "a",
    " ",
    "    ",
    "\t",
    "\0",
    "\u202e",
    "\ud800",
    "é",
    "😀",
    '"',
    "'",
    "[a]: javascript:b",
    "[a]",
    "<javascript:x>",
    "mailto:",
    "www.",
    ":",
    "//",
    "\r",
    "=\n",
    "---\n",
  ];
  let state = 1;
  const next = (n) => (state = (state * 48271) % 2147483647) % n;
  for (let i = 0; i < 3000; i++) {
    let source = "";
    for (let length = next(40); length >= 0; length--) source += pieces[next(pieces.length)];
    const { blocks, last } = parse(source);
    check(blocks);
    assert.ok(last >= 0 && last <= source.length);
  }
});

test("the text before the last block is done, however the answer comes", () => {
  const source =
    "# A\n\ntext *of\nmore* lines\n\n- one\n- two\n\n  ```py\n  x\n  ```\n\n|a|b|\n|-|-|\n|1|2|\n\n> q\n\n```\ncode\n\nmore\n```\nend";
  const whole = brief(parse(source).blocks);
  let settled = "";
  let from = 0;
  for (let end = 1; end <= source.length; end++) {
    const { blocks, last } = parse(source.slice(from, end));
    if (end === source.length) settled += brief(blocks);
    else {
      settled += brief(blocks.slice(0, -1));
      if (blocks.length > 1) from += last;
    }
  }
  assert.equal(settled, whole);
});

test("a text that would keep the parser busy for long is shown as it is", () => {
  const wide = `${"|a".repeat(40_000)}\n${"|-".repeat(40_000)}\n`;
  assert.deepEqual(parse(wide).blocks, [{ tag: "p", attrs: { class: "verbatim" }, children: [wide] }]);
  const long = "word ".repeat(LONGEST_BLOCK / 4);
  assert.equal(rendered(long), `p[class=verbatim](${long})`);
  // Long code and long answers of ordinary paragraphs are parsed.
  const code = "x = 1\n".repeat(LONGEST_BLOCK);
  assert.equal(rendered(`\`\`\`\n${code}\`\`\`\n`), `code:<${code}>`);
  assert.equal(parse(`${"a ".repeat(400)}\n\n`.repeat(100)).blocks.length, 100);
  // Deep nesting ends somewhere, and not in a stack overflow.
  check(parse(`${">".repeat(10_000)} a`).blocks);
  check(parse(Array.from({ length: 150 }, (_, i) => `${"  ".repeat(i)}- a`).join("\n")).blocks);
});

test("characters that turn or hide text are named", () => {
  assert.deepEqual(reveal("plain"), ["plain"]);
  assert.deepEqual(reveal(""), []);
  const shown = reveal("a\u202Eb\u2066c", false);
  assert.deepEqual(shown, ["a", { character: "\u202E", label: "U+202E", name: "right-to-left override" }, "b\u2066c"]);
  // Joiners are part of words and emoji; in code they are a trap.
  assert.deepEqual(reveal("👩‍💻 می‌خواهم"), ["👩‍💻 می‌خواهم"]);
  const code = reveal("if (a\u200Bdmin\u2066) \u{E0041}", true);
  assert.deepEqual(
    code.map((piece) => piece.label ?? piece),
    ["if (a", "U+200B", "dmin", "U+2066", ") ", "U+E0041"],
  );
  assert.equal(code.map((piece) => piece.character ?? piece).join(""), "if (a\u200Bdmin\u2066) \u{E0041}");
});

test("the vendored parser is the one that npm has", (t) => {
  const theirs = new URL("../../node_modules/markdown-it/", import.meta.url);
  if (!existsSync(theirs)) return t.skip("markdown-it is not installed: npm ci");
  const read = (url) => readFileSync(fileURLToPath(url), "utf8");
  const folder = new URL("../../py/pocketllama/serve/static/vendor/", import.meta.url);
  assert.equal(read(new URL("markdown-it.js", folder)), read(new URL("dist/browser/markdown-it.esm.min.mjs", theirs)));
  assert.ok(read(new URL("LICENSES.txt", folder)).includes(read(new URL("LICENSE", theirs))));
});
