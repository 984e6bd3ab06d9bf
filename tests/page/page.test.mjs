// The page in a browser, against a server that does what each test says.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { launch, until, visit } from "./browser.mjs";
import { begin, event, fail, FakeServer, piece, say, start } from "./fake_server.mjs";
import { SAMPLE } from "./sample.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {FakeServer} */
let server;
/** @type {Awaited<ReturnType<typeof visit>>[]} */
let visits;

before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(async () => {
  server = await new FakeServer().start();
  visits = [];
});
afterEach(async () => {
  for (const { context } of visits) await context.close();
  await server.stop();
  for (const { trouble } of visits) assert.deepEqual(trouble, []);
});

/** The page, ready to be written in. */
async function opened(options = {}, url = server.url) {
  const visited = await visit(browser, url, options);
  visits.push(visited);
  await visited.page.waitForSelector("#welcome:not([hidden]), article");
  return visited.page;
}

const ask = async (page, text) => {
  await page.fill("#prompt", text);
  await page.press("#prompt", "Enter");
};
const answered = (page) => page.waitForSelector("#stop", { state: "hidden" });
const said = async (page, text) => {
  await ask(page, text);
  await answered(page);
};
const retry = (page) => page.locator("article:last-child").getByRole("button", { name: "Retry" });
const texts = (page) => page.locator("article .body").allInnerTexts();
const body = (page) => page.evaluate(() => document.body.innerText);

test("an answer streams, and ends with its figures", async () => {
  const page = await opened();
  /** @type {() => void} */
  let go = () => {};
  const gone = new Promise((resolve) => (go = () => resolve(undefined)));
  server.next(async ({ body }, response) => {
    begin(response);
    response.write(piece(body, "The **fir"));
    await gone;
    response.write(piece(body, "st** half, and the second.", "stop"));
    response.write(
      event({
        choices: [],
        usage: { prompt_tokens: 1200, completion_tokens: 34 },
        timings: { tokens_per_second: 5.67 },
      }),
    );
    response.end(event("[DONE]"));
  });
  await ask(page, "Tell me");
  await page.waitForFunction(() => document.querySelector(".assistant")?.textContent?.includes("The **fir"));
  assert.equal(await page.isVisible("#stop"), true);
  assert.equal(await page.getAttribute(".assistant", "aria-busy"), "true");
  go();
  await answered(page);
  assert.deepEqual(await texts(page), ["Tell me", "The first half, and the second."]);
  assert.equal(await page.innerText(".assistant strong"), "first");
  assert.equal(await page.innerText(".figures"), "34 tokens · 5.7 tokens/s · pocket-7b");
  assert.equal(await page.innerText("#context"), "1,234 of 4,096 tokens of context");
  assert.match(await page.innerText("#announcer"), /^Answer: The first half/);
  assert.equal(await page.evaluate(() => document.activeElement?.id), "prompt");
  assert.deepEqual(server.asked[0], {
    model: "pocket-7b",
    messages: [{ role: "user", content: "Tell me" }],
    stream: true,
    stream_options: { include_usage: true },
  });
  // And the second turn sends the first.
  await said(page, "More");
  assert.deepEqual(
    server.asked[1].messages.map(({ content }) => content),
    ["Tell me", "The **first** half, and the second.", "More"],
  );
});

test("an answer is stopped by the button and by Escape, and the server hears of it", async () => {
  const page = await opened();
  for (const stop of [() => page.click("#stop"), () => page.keyboard.press("Escape")]) {
    server.next(start("Once upon"));
    await ask(page, "A story");
    await page.waitForFunction(() =>
      /Once upon$/.test(document.querySelector("article:last-child .answer")?.textContent ?? ""),
    );
    assert.equal(server.open, 1);
    await stop();
    await answered(page);
    await until(() => server.open === 0);
    assert.equal(await page.evaluate(() => document.activeElement?.id), "prompt");
  }
  // While nothing has come yet, too.
  server.next(start(""));
  await ask(page, "A story");
  await page.waitForSelector(".waiting");
  await page.keyboard.press("Escape");
  await answered(page);
  const shown = await texts(page);
  assert.match(shown[1], /^Once upon\s+You stopped this answer\.$/);
  assert.match(shown[5], /^You stopped this answer\.$/);
  // What an answer that was stopped at once said, nothing, is not sent.
  await said(page, "Go on");
  assert.deepEqual(
    server.asked[3].messages.map(({ role, content }) => `${role}: ${content}`),
    ["user: A story", "assistant: Once upon", "user: A story", "assistant: Once upon", "user: A story\n\nGo on"],
  );
});

test("retry and edit keep what was there", async () => {
  const page = await opened();
  for (const word of ["one", "two", "three"]) server.next(say(word));
  await said(page, "Say a number");
  await retry(page).click();
  await answered(page);
  assert.deepEqual(await texts(page), ["Say a number", "two"]);
  assert.deepEqual(server.asked[1].messages, [{ role: "user", content: "Say a number" }]);
  assert.equal(await page.innerText(".assistant .versions span"), "2/2");
  await page.click(".assistant button[aria-label='Earlier version']");
  assert.deepEqual(await texts(page), ["Say a number", "one"]);
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("aria-label")), "Later version");

  await page.focus("#prompt");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Escape"); // not this time
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("aria-label")), "Edit");
  await page.keyboard.press("Enter");
  await page.keyboard.press("End");
  await page.keyboard.type(" or two");
  await page.keyboard.press("Enter");
  await answered(page);
  assert.deepEqual(await texts(page), ["Say a number or two", "three"]);
  assert.equal(await page.innerText(".user .versions span"), "2/2");
  await page.click(".user button[aria-label='Earlier version']");
  assert.deepEqual(await texts(page), ["Say a number", "two"]);
  await page.reload();
  await page.waitForSelector("article");
  assert.deepEqual(await texts(page), ["Say a number", "two"]);
});

test("copying gives what the model wrote", async () => {
  const page = await opened({ permissions: ["clipboard-read", "clipboard-write"] });
  const copied = () => page.evaluate(() => navigator.clipboard.readText());
  const code = "if (a\u200B) {\n\treturn '<b>';\n}\n";
  server.answer = say(`**Bold**\n\n\`\`\`js\n${code}\`\`\`\n`);
  await said(page, "Code");
  await page.click("article:last-child .foot button[aria-label=Copy]");
  await page.waitForSelector("button[aria-label=Copied]");
  assert.equal(await copied(), `**Bold**\n\n\`\`\`js\n${code}\`\`\`\n`);
  assert.match(await page.innerText("pre"), /if \(aU\+200B\) \{/);
  await page.click("figure button");
  await page.waitForFunction(() => document.querySelector("figure button")?.textContent === "Copied");
  assert.equal(await copied(), code);
  // On plain HTTP from another machine there is no clipboard API.
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  await page.click("article:first-child .foot button[aria-label=Copy]");
  await page.waitForSelector("article:first-child button[aria-label=Copied]");
  const paste = await page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
  assert.equal(paste, "Copied");
});

test("a server that dies and comes back", async () => {
  const page = await opened();
  await said(page, "Before");
  let die = () => {};
  server.next(start("Half of the", (response) => (die = () => response.destroy())));
  await ask(page, "Die now");
  await page.waitForFunction(() => document.querySelector("article:last-child .answer")?.textContent === "Half of the");
  die();
  await answered(page);
  assert.match((await texts(page))[3], /^Half of the\s+The answer was cut off\n/);
  await server.stop();
  await said(page, "Anybody?");
  const failure = await page.innerText("article:last-child .failure");
  assert.match(failure, /does not answer[^]*It was stopped[^]*pocketllama serve/);
  assert.match(await page.innerText("#announcer"), /does not answer/);
  await page.waitForSelector("#notice.wrong");
  await page.evaluate(() => scrollTo(0, 0));
  await server.start();
  await page.waitForSelector("#notice:not(.wrong):not([hidden])");
  assert.match(await page.innerText("#notice"), /there again/);
  await retry(page).click();
  await answered(page);
  assert.equal((await texts(page)).at(-1), "An answer.");
  await page.waitForSelector("#notice", { state: "hidden" });
  // Opened while the server is away, from a browser that has the files: the conversation is there to be read.
  await page.reload();
  await page.waitForSelector("article");
  assert.equal((await texts(page)).length, 6);
});

test("a page that opens while the API is away waits for it", async () => {
  server.down = true;
  const visited = await visit(browser, server.url);
  visits.push(visited);
  await visited.page.waitForSelector("#notice.wrong");
  assert.match(await body(visited.page), /The server does not answer\./);
  await visited.page.fill("#prompt", "Can I ask?");
  assert.equal(await visited.page.isDisabled("#send"), true);
  server.down = false;
  await visited.page.waitForSelector("#send:not(:disabled)");
});

test("every failure says its cause and what to do", async () => {
  const page = await opened();
  const away = (_, response) => response.destroy();
  const cases = [
    [
      fail(400, { message: "5012 tokens, 4096 fit.", code: "context_length_exceeded" }),
      /too long[^]*5012 tokens[^]*new chat/,
    ],
    [fail(400, { message: "temperature must be at most 2." }), /refused[^]*temperature must be[^]*settings/],
    [fail(500, { message: "The engine died." }), /failed[^]*engine died[^]*terminal/],
    [fail(418, "<b>short</b>"), /refused[^]*<b>short<\/b>/],
    [(_, response) => response.writeHead(502).end("<html>"), /failed[^]*502/],
    [(_, response) => response.end("[]"), /refused[^]*stream/],
    [(_, response) => (begin(response), response.end("data: {\n\n")), /cut off[^]*not JSON/],
    [
      (_, response) => (begin(response), response.end(event({ error: { message: "Out of memory." } }))),
      /failed[^]*Out of memory/,
    ],
    [(_, response) => (begin(response), response.end()), /cut off[^]*ended the stream/],
    [away, /does not answer/],
    [say(""), /nothing to say/],
    [say("On and on", { end: "length" }), /On and on\s+The answer reached its longest length/],
  ];
  for (const [answer, words] of cases) {
    server.next(answer);
    if (answer === away) server.next(away); // Chromium asks a second time by itself
    await said(page, "Go");
    assert.match(await page.innerText("article:last-child .body"), words);
    assert.equal(await retry(page).isVisible(), true);
  }
});

test("a busy server is asked again when it said so, unless the reader stops", async () => {
  const page = await opened();
  server.next(
    fail(429, { message: "The queue is full." }, { "retry-after": "0" }),
    fail(503, {}, { "retry-after": "0" }),
  );
  await said(page, "Now?");
  assert.equal((await texts(page)).at(-1), "An answer.");
  assert.equal(server.asked.length, 3);
  server.next(fail(429, { message: "The queue is full." }, { "retry-after": "20" }));
  await ask(page, "And now?");
  await page.waitForFunction(() => /asking again in \d+ s/.test(document.querySelector(".waiting")?.textContent ?? ""));
  await page.keyboard.press("Escape");
  await answered(page);
  assert.equal(server.asked.length, 4);
  for (let i = 0; i < 4; i++) server.next(fail(429, { message: "The queue is full." }, { "retry-after": "0" }));
  await said(page, "And now?");
  assert.match((await texts(page)).at(-1) ?? "", /busy[^]*queue is full/);
});

test("a key is asked for, and sent", async () => {
  server.key = "sésame-123".normalize("NFKD").replace(/[^\x21-\x7e]/g, "");
  const visited = await visit(browser, server.url);
  visits.push(visited);
  const { page } = visited;
  await page.click("#notice button");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "key");
  await page.keyboard.type(server.key);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Escape");
  await page.waitForSelector("#notice", { state: "hidden" });
  await said(page, "Open");
  assert.equal((await texts(page)).at(-1), "An answer.");
  await page.reload();
  await said(page, "Still open");
  // It is in this tab, not on the disk, and in no export.
  assert.doesNotMatch(await page.evaluate(() => JSON.stringify(localStorage)), /sesame/);
  server.key = "another";
  await said(page, "Closed");
  assert.match((await texts(page)).at(-1) ?? "", /asks for a key/);
});

test("a server without a model", async () => {
  server.models = [];
  const visited = await visit(browser, server.url);
  visits.push(visited);
  await visited.page.waitForSelector("#notice.wrong");
  assert.match(await visited.page.innerText("#notice"), /no model[^]*pocketllama serve -m MODEL/);
});

test("a model that only continues gets the text, and a page that says so", async () => {
  server.models = [{ id: "tales", chat_template: null }];
  server.answer = say(" there was a fox.");
  const page = await opened();
  assert.match(await page.innerText("#welcome"), /continues a text/);
  await page.click("#welcome li:first-child button");
  assert.match(await page.inputValue("#prompt"), /^Once upon a time/);
  server.next(say(" there was a fox", { end: "length" }));
  await said(page, "Once upon a time");
  assert.equal(await page.isVisible("text=longest length"), false);
  server.next(say(" who sang."));
  await page.click("text=Go on");
  await answered(page);
  assert.equal(await page.isVisible("text=Go on"), false);
  await said(page, "It was loved");
  assert.deepEqual(
    server.asked.map(({ prompt }) => prompt),
    [
      "Once upon a time",
      "Once upon a time there was a fox",
      "Once upon a time there was a fox who sang.\n\nIt was loved",
    ],
  );
});

test("settings are sent, kept, and say what they take", async () => {
  server.models.push({ id: "other", object: "model", created: 0, owned_by: "tests", context_length: 100 });
  const page = await opened();
  await page.selectOption("#model", "other");
  await page.click("#open-settings");
  await page.fill("#system", "Be brief.");
  await page.fill("#s-temperature", "0.25");
  await page.fill("#s-top_k", "many");
  await page.fill("#s-seed", "7");
  await page.fill("#stops", "END\n\n###");
  assert.match(await page.innerText("#h-top_k"), /whole number from 0 to 1000/);
  assert.equal(await page.getAttribute("#s-top_k", "aria-invalid"), "true");
  await page.selectOption("#theme", "dark");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "open-settings");
  const expected = {
    model: "other",
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello" },
    ],
    temperature: 0.25,
    seed: 7,
    stop: ["END", "###"],
  };
  await said(page, "Hello");
  for (const reload of [false, true]) {
    if (reload) {
      await page.goto(server.url);
      await page.waitForSelector("#welcome:not([hidden])");
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
      assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(26, 25, 23)");
      await said(page, "Hello");
    }
    const { stream, stream_options, ...sent } = /** @type {any} */ (server.asked.at(-1));
    assert.deepEqual(sent, expected);
  }
  await page.click("#open-settings");
  await page.click("#reset");
  assert.equal(await page.inputValue("#s-temperature"), "");
  await page.keyboard.press("Escape");
  await said(page, "Hello");
  assert.equal("temperature" in server.asked.at(-1), false);
});

test("Enter sends, Shift-Enter makes a line, an input method's Enter does neither", async () => {
  const page = await opened();
  await page.focus("#prompt");
  await page.keyboard.type("one");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("two");
  await page.evaluate(() => {
    const event = new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true, cancelable: true });
    document.getElementById("prompt")?.dispatchEvent(event);
  });
  assert.equal(server.asked.length, 0);
  await page.keyboard.press("Enter");
  await answered(page);
  assert.equal(server.asked[0].messages[0].content, "one\ntwo");
  await page.keyboard.press("Enter"); // nothing to send
  assert.equal(server.asked.length, 1);
});

test("the page follows the answer until the reader leaves it", async () => {
  const page = await opened();
  const distance = () => page.$eval("#scroller", (e) => Math.round(e.scrollHeight - e.scrollTop - e.clientHeight));
  let more = (/** @type {string} */ text) => void text;
  server.next(({ body }, response) => {
    begin(response);
    more = (text) => response.write(piece(body, text));
    more(`${"A line.\n\n".repeat(60)}first end`);
  });
  const shows = (text) =>
    page.waitForFunction((t) => document.querySelector("article:last-child")?.textContent?.includes(t), text);
  await ask(page, "A lot");
  await shows("first end");
  await until(async () => (await distance()) < 2);
  await page.mouse.move(640, 300);
  await page.mouse.wheel(0, -400);
  await page.waitForSelector("#to-end:not([hidden])");
  const top = await page.$eval("#scroller", (e) => e.scrollTop);
  more(`\n\n${"B line.\n\n".repeat(60)}second end`);
  await shows("second end");
  assert.equal(await page.$eval("#scroller", (e) => e.scrollTop), top);
  await page.click("#to-end");
  await until(async () => (await distance()) < 2);
  more(`\n\n${"C line.\n\n".repeat(60)}third end`);
  await shows("third end");
  await until(async () => (await distance()) < 2);
  await page.keyboard.press("Escape");
});

test("conversations: a new one, another, renamed, deleted and back", async () => {
  const page = await opened();
  server.next(say("slow ".repeat(40), { pause: 30 }));
  await ask(page, "The first");
  await page.waitForFunction(() => document.querySelector(".assistant .answer")?.textContent?.includes("slow"));
  const first = page.url();
  // An answer goes on while another conversation is read.
  await page.click("#new-chat");
  await page.waitForSelector("#welcome:not([hidden])");
  await page.waitForSelector("#conversations .busy");
  await said(page, "The second");
  await page.waitForFunction(() => document.querySelectorAll("#conversations a").length === 2);
  await page.click("#conversations a:has-text('The first')");
  await answered(page);
  assert.equal((await texts(page)).at(-1)?.trim(), "slow ".repeat(40).trim());
  await page.goBack();
  await page.waitForFunction(() => document.querySelector("article")?.textContent?.includes("The second"));

  await page.click("#open-menu");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "rename");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  await page.keyboard.type("A <b>name</b>");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#conversations a:has-text('A <b>name</b>')");
  assert.equal(await page.title(), "A <b>name</b> · pocketllama");

  await page.click("#open-menu");
  await page.click("#delete");
  await page.waitForSelector("#welcome:not([hidden])");
  await page.waitForFunction(() => document.querySelectorAll("#conversations a").length === 1);
  await page.click("#toast button");
  await page.waitForSelector("article");
  assert.equal(await page.innerText("h1"), "A <b>name</b>");
  await page.goto(first);
  await page.waitForFunction(() => document.querySelector("article .body")?.textContent === "The first");
});

test("conversations leave as JSON, and come back", async () => {
  const page = await opened();
  await said(page, "Ünïcode 😀 & <b>");
  const saved = async (click) => {
    const [file] = await Promise.all([page.waitForEvent("download"), click()]);
    return { name: file.suggestedFilename(), path: await file.path(), text: await readFile(await file.path(), "utf8") };
  };
  await page.click("#open-menu");
  const one = await saved(() => page.click("#export"));
  assert.match(one.name, /^pocketllama-ünïcode-b\.json$/);
  const { format, conversations } = JSON.parse(one.text);
  assert.equal(format, "pocketllama-conversations");
  assert.deepEqual(
    conversations[0].messages.map(({ role, content }) => [role, content]),
    [
      ["user", "Ünïcode 😀 & <b>"],
      ["assistant", "An answer."],
    ],
  );
  await page.click("#open-settings");
  const all = await saved(() => page.click("#export-all"));
  assert.deepEqual(JSON.parse(all.text).conversations, conversations);
  await page.click("#delete-all");
  await page.waitForSelector("#conversations .none");
  await page.click("#open-settings");
  await page.setInputFiles("#import", one.path);
  await page.click("#conversations a");
  assert.deepEqual(await texts(page), ["Ünïcode 😀 & <b>", "An answer."]);
  // Once more: beside the first. And a file of something else is refused with a word.
  await page.click("#open-settings");
  await page.setInputFiles("#import", one.path);
  await page.waitForFunction(() => document.querySelectorAll("#conversations a").length === 2);
  await page.click("#open-settings");
  await page.setInputFiles("#import", { name: "x.json", mimeType: "application/json", buffer: Buffer.from('{"a":1}') });
  await page.waitForFunction(() =>
    document.querySelector("#toast")?.textContent?.includes("not exported from this page"),
  );
});

test("another tab sees what this one does", async () => {
  const page = await opened();
  await said(page, "Here");
  const other = await page.context().newPage();
  await other.goto(page.url());
  await other.waitForSelector("article");
  await said(other, "There");
  await page.waitForFunction(() => document.querySelectorAll("article").length === 4);
  await said(page, "Here again");
  await other.waitForFunction(() => document.querySelectorAll("article").length === 6);
});

test("a page closed in the middle of an answer keeps what had come", async () => {
  const page = await opened();
  server.next(start("Half an answer"));
  await ask(page, "Tell me");
  await page.waitForFunction(() => document.querySelector(".assistant .answer")?.textContent === "Half an answer");
  await page.reload();
  await page.waitForSelector("article");
  assert.match((await texts(page))[1], /^Half an answer\s+The page was closed/);
  await until(() => server.open === 0);
  // And a draft is there again, too.
  await page.fill("#prompt", "A draft");
  await page.reload();
  await page.waitForSelector("article");
  assert.equal(await page.inputValue("#prompt"), "A draft");
});

test("a browser that keeps nothing", async () => {
  const visited = await visit(browser, "about:blank");
  visits.push(visited);
  const { page } = visited;
  await page.addInitScript(() => {
    for (const name of ["indexedDB", "localStorage", "sessionStorage"]) {
      Object.defineProperty(window, name, {
        get() {
          throw new DOMException("denied", "SecurityError");
        },
      });
    }
  });
  visited.from(server.url);
  await page.goto(server.url);
  await page.waitForSelector("#welcome:not([hidden])");
  assert.match(await page.innerText("#kept"), /keeps nothing/);
  await said(page, "Hello");
  await page.click("#new-chat");
  await page.click("#conversations a");
  await page.waitForSelector("article");
  assert.deepEqual(await texts(page), ["Hello", "An answer."]);
});

test("a browser whose storage is full says so, and the conversation goes on", async () => {
  const page = await opened();
  await page.evaluate(() => {
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
  });
  await said(page, "Hello");
  assert.match(await page.innerText("#notice"), /storage is full[^]*export/);
  assert.deepEqual(await texts(page), ["Hello", "An answer."]);
});

test("thoughts are apart from the answer", async () => {
  const page = await opened();
  for (const answer of [
    say("42", { thought: "Let me **see**" }),
    say("<think>Let me **see**</think>\n\n42", { by: 3 }),
  ]) {
    server.next(answer);
    await said(page, "What?");
    assert.equal(await page.innerText("article:last-child .body > .answer"), "42");
    assert.equal(await page.isVisible("article:last-child .thought strong"), false);
    await page.click("article:last-child summary");
    assert.equal(await page.innerText("article:last-child .thought strong"), "see");
  }
  assert.equal(server.asked[1].messages[1].content, "42");
});

test("a phone: the list is a drawer, and Enter makes a line", async () => {
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
  const page = await opened(phone);
  server.answer = say(SAMPLE);
  await page.tap("#prompt");
  await page.keyboard.type("one");
  await page.keyboard.press("Enter");
  await page.keyboard.type("two");
  await page.tap("#send");
  await answered(page);
  assert.equal(server.asked[0].messages[0].content, "one\ntwo");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
  assert.equal(await page.$eval("#scroller", (e) => e.scrollWidth <= e.clientWidth), true);
  assert.equal(await page.$eval("#sidebar", (e) => /** @type {HTMLElement} */ (e).inert), true);
  await page.tap("#open-sidebar");
  assert.equal(await page.$eval("#main", (e) => /** @type {HTMLElement} */ (e).inert), true);
  assert.equal(await page.evaluate(() => document.activeElement?.id), "new-chat");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "open-sidebar");
  await page.tap("#open-sidebar");
  await page.tap("#new-chat");
  await page.waitForSelector("#welcome:not([hidden])");
  assert.equal(await page.$eval("#main", (e) => /** @type {HTMLElement} */ (e).inert), false);
});

test("a long conversation is there at once at its end, and whole soon after", async () => {
  const page = await opened();
  const messages = [];
  for (let i = 0; i < 600; i++) {
    const parent = i ? `m${i - 1}` : null;
    messages.push({
      id: `m${i}`,
      parent,
      role: i % 2 ? "assistant" : "user",
      content: `${i}\n\n${SAMPLE}`,
      created: 1,
      end: "stop",
    });
  }
  const record = { id: "long", title: "Long", created: 1, updated: 1, head: "m599", messages };
  const file = JSON.stringify({ format: "pocketllama-conversations", version: 1, conversations: [record] });
  await page.click("#open-settings");
  await page.setInputFiles("#import", { name: "long.json", mimeType: "application/json", buffer: Buffer.from(file) });
  await page.click("#conversations a");
  await page.waitForSelector("article[data-id=m599]");
  const inView = await page.evaluate(() => {
    const { top, bottom } = /** @type {Element} */ (
      document.querySelector("article[data-id=m599]")
    ).getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  });
  assert.equal(inView, true);
  await page.waitForFunction(() => document.querySelectorAll("article").length === 600);
  assert.deepEqual(
    await page.$$eval("article", (all) => all.map((e) => e.getAttribute("data-id"))),
    messages.map(({ id }) => id),
  );
  assert.equal(await page.$eval("#scroller", (e) => e.scrollHeight - e.scrollTop - e.clientHeight < 2), true);
  await said(page, "Still quick");
  assert.equal((await texts(page)).at(-1), "An answer.");
});

test("nothing moves for those who asked for that", async () => {
  const page = await opened({ reducedMotion: "reduce" });
  server.next(start(""));
  await ask(page, "Wait");
  await page.waitForSelector(".dots");
  assert.equal(await page.$eval(".dots", (e) => getComputedStyle(e).animationName), "none");
  await page.keyboard.press("Escape");
});

test("axe finds nothing to object to", async () => {
  const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    for (const width of [1280, 390]) {
      const page = await opened({ colorScheme, viewport: { width, height: 844 }, reducedMotion: "reduce" });
      await page.evaluate(axe);
      const check = async (/** @type {string} */ where) => {
        // @ts-expect-error: axe is in the page
        const { violations } = await page.evaluate(() => axe.run());
        const found = violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(" ")}`);
        assert.deepEqual(found, [], `${where}, ${colorScheme}, ${width}`);
      };
      await check("the empty page");
      server.next(say(SAMPLE, { thought: "Hm" }), fail(500, { message: "The engine died." }));
      await said(page, "Everything");
      await said(page, "And fail");
      await check("a conversation");
      await page.click("#open-settings");
      await page.fill("#s-seed", "x");
      await check("the settings");
      await page.keyboard.press("Escape");
      await page.click("#open-menu");
      await check("the menu");
      await page.keyboard.press("Escape");
      if (width < 500) {
        await page.click("#open-sidebar");
        await check("the drawer");
      }
    }
  }
});
