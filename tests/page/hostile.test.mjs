// A hostile model, a hostile server and a hostile file: what they say is shown, and never done.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { launch, visit } from "./browser.mjs";
import { fail, FakeServer, say } from "./fake_server.mjs";
import { HOSTILE } from "./hostile.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {FakeServer} */
let server;
/** @type {Awaited<ReturnType<typeof visit>>} */
let visited;

before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(async () => (server = await new FakeServer().start()));
afterEach(async () => {
  await visited.context.close();
  await server.stop();
  assert.deepEqual(visited.trouble, []);
});

async function opened(options = {}) {
  visited = await visit(browser, server.url, options);
  await visited.page.waitForSelector("#welcome:not([hidden]), article");
  return visited.page;
}

/** What is in the answers that must not be, and what makes the page wider than its window. */
const inspect = (page) =>
  page.evaluate(() => {
    /** @type {string[]} */
    const found = [];
    const allowed = new Set(
      "div p h3 h4 h5 h6 ul ol li blockquote hr table thead tbody tr th td em strong s code a br span figure figcaption pre button svg use".split(
        " ",
      ),
    );
    for (const element of document.querySelectorAll(
      ".answer *, .said *, .failure *, #conversations *, h1 *, #notice *",
    )) {
      const name = element.localName;
      if (!allowed.has(name) && !["section", "h2"].includes(name)) found.push(`<${name}>`);
      for (const { name: attribute, value } of element.attributes) {
        if (/^on|^style$|^src|^srcdoc|^action|^formaction|^background|^ping/.test(attribute))
          found.push(`${name}[${attribute}]`);
        if (attribute === "href" && !/^(https?:|mailto:|#)/.test(value)) found.push(`${name}[href=${value}]`);
      }
      if (
        name === "a" &&
        element.closest(".answer") &&
        element.getAttribute("rel") !== "noopener noreferrer nofollow"
      ) {
        found.push("a link without rel");
      }
    }
    if (document.documentElement.scrollWidth > innerWidth)
      found.push(`the page is ${document.documentElement.scrollWidth} wide`);
    const scroller = /** @type {Element} */ (document.getElementById("scroller"));
    if (scroller.scrollWidth > scroller.clientWidth) found.push(`the conversation is ${scroller.scrollWidth} wide`);
    if (document.querySelectorAll("script").length !== 2) found.push("another script");
    if (document.title.length > 300) found.push("a long title");
    return found;
  });

/** Write a message and wait for what comes of it. */
async function said(page, text) {
  await page.fill("#prompt", text);
  await page.click("#send");
  await page.waitForSelector("#stop", { state: "hidden" });
}

for (const [name, viewport] of /** @type {const} */ ([
  ["wide", { width: 1280, height: 800 }],
  ["narrow", { width: 390, height: 844 }],
])) {
  test(`what a model says is not executed, fetched or followed: ${name}`, async () => {
    const page = await opened({ viewport });
    for (const answer of HOSTILE) {
      // In odd pieces, so that every beginning of it is drawn, too; and once more as what the reader says.
      server.next(say(answer, { by: Math.max(3, Math.ceil(answer.length / 40)) }));
      await said(page, answer);
      assert.deepEqual(await inspect(page), [], answer.slice(0, 80));
    }
    // The same from the store, and with the mouse on everything that could be pressed in it.
    await page.reload();
    await page.waitForFunction((n) => document.querySelectorAll("article").length === n, 2 * HOSTILE.length);
    assert.deepEqual(await inspect(page), []);
    await page.evaluate(() => {
      for (const element of document.querySelectorAll(".answer *:not(a):not(button)")) {
        for (const type of ["mouseover", "mouseenter", "click", "focus", "toggle", "load", "error"]) {
          element.dispatchEvent(new Event(type, { bubbles: true }));
        }
      }
    });
    const links = await page.$$eval(".answer a", (all) => all.map((a) => /** @type {HTMLAnchorElement} */ (a).href));
    assert.ok(links.length > 5);
    for (const link of links) assert.match(link, /^(http:\/\/outside\.invalid|https:\/\/(good|xn--)[^/]*)/);
  });
}

test("the page's policy stands behind its code", async () => {
  const page = await opened();
  const refused = await page.evaluate(async () => {
    /** @type {string[]} */
    const refusals = [];
    document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => refusals.push(effectiveDirective));
    const attempt = (/** @type {() => unknown} */ act) => {
      try {
        return act();
      } catch (error) {
        return /** @type {Error} */ (error).name;
      }
    };
    const names = [
      attempt(() => (document.body.innerHTML = "<p>a</p>")),
      attempt(() => document.write("a")),
      attempt(() => document.body.setAttribute("onclick", "pwned()")),
    ];
    const image = document.createElement("img");
    image.src = "http://outside.invalid/a.png";
    const script = document.createElement("script");
    attempt(() => (script.textContent = "pwned()"));
    const style = document.createElement("style");
    style.textContent = "body { color: red }";
    const frame = document.createElement("iframe");
    frame.src = "http://outside.invalid/";
    document.body.append(image, script, style, frame);
    await fetch("http://outside.invalid/").catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { names, refusals: [...new Set(refusals)].sort(), color: getComputedStyle(document.body).color };
  });
  assert.deepEqual(refused.names, ["TypeError", "TypeError", "TypeError"]);
  for (const directive of ["connect-src", "img-src", "require-trusted-types-for", "style-src-elem"]) {
    assert.ok(refused.refusals.includes(directive), `${directive} not in ${refused.refusals}`);
  }
  assert.notEqual(refused.color, "rgb(255, 0, 0)");
  // The browser has told of each refusal, and that was wanted here; but nothing has run.
  assert.ok(!visited.trouble.some((trouble) => /pwned/.test(trouble)));
  visited.trouble.length = 0;
});

test("what a server says is text, too", async () => {
  const script = "<img src=x onerror=pwned()><script>pwned()</script>\u202E";
  server.models = [{ id: script + "x".repeat(5000) }, { id: script }];
  const page = await opened({ viewport: { width: 390, height: 844 } });
  assert.deepEqual(await inspect(page), []);
  await said(page, "Hello");
  assert.match(await page.innerText(".figures"), /<img/);
  assert.deepEqual(await inspect(page), []);
  server.next(
    fail(400, { message: script }),
    fail(500, { message: "y".repeat(100_000), remedy: script }),
    (_, response) => response.writeHead(500, { "content-type": "text/html" }).end(script),
  );
  for (let i = 0; i < 3; i++) await said(page, script);
  assert.deepEqual(await inspect(page), []);
  assert.match(await page.innerText(".failure"), /<img src=x onerror=pwned\(\)>/);
  await page.click("#open-menu");
  await page.click("#rename");
  await page.keyboard.type(script);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#conversations a:has-text('<img')", { state: "attached" });
  assert.deepEqual(await inspect(page), []);
});

test("what a file says is checked, and text", async () => {
  const page = await opened();
  const script = "<img src=x onerror=pwned()>";
  const message = {
    id: "m",
    parent: null,
    role: "assistant",
    content: script,
    created: 1,
    end: "error",
    model: script,
  };
  const failure = { title: script, cause: script, remedy: `\`${script}\`` };
  const good = {
    id: "c",
    title: script,
    created: 1,
    updated: 8e15,
    head: "m",
    messages: [{ ...message, failure, thought: script }],
  };
  const file = (conversation) =>
    JSON.stringify({ format: "pocketllama-conversations", version: 1, conversations: [conversation] });
  const give = async (text) => {
    await page.click("#open-settings");
    await page.setInputFiles("#import", {
      name: `${script}.json`,
      mimeType: "application/json",
      buffer: Buffer.from(text),
    });
    await page.waitForSelector("#toast:popover-open");
    const words = await page.innerText("#toast span");
    await page.click("#toast button");
    return words;
  };
  assert.match(await give(file({ ...good, id: "javascript:pwned()" })), /was not imported/);
  assert.match(await give(file({ ...good, messages: [{ ...message, parent: "m" }] })), /was not imported/);
  assert.match(await give("[".repeat(100_000)), /not JSON/);
  assert.match(await give(file(good)), /1 conversation imported/);
  await page.click("#conversations a");
  await page.waitForSelector("article");
  assert.deepEqual(await inspect(page), []);
  assert.match(await page.innerText(".failure"), /<img/);
});

test("an address that names anything is only an address", async () => {
  const page = await opened();
  for (const hash of [
    "#/nobody",
    "#/../../x",
    "#/<script>pwned()</script>",
    "#javascript:pwned()",
    "#/__proto__",
    `#/${"x".repeat(10_000)}`,
  ]) {
    await page.goto("about:blank").catch(() => {});
    visited.trouble.length = 0; // leaving for about:blank is the test's doing
    await page.goto(server.url + hash);
    await page.waitForSelector("#welcome:not([hidden])");
    assert.equal(await page.evaluate(() => location.hash), "");
  }
});
