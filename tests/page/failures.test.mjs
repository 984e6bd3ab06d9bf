// What goes wrong: with the server, its key and its models, and with the browser's storage.
import assert from "node:assert/strict";
import { test } from "node:test";

import { visit } from "./browser.mjs";
import { begin, event, fail, say, start } from "./fake_server.mjs";
import { answered, ask, body, browser, opened, retry, said, server, texts, visits } from "./fixture.mjs";

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

test("what the page notes is not faded as what scrolls away is", async () => {
  server.down = true;
  const visited = await visit(browser, server.url);
  visits.push(visited);
  const notice = visited.page.locator("#notice.wrong");
  await notice.waitFor();
  const { x, y, width, height } = /** @type {{ x: number; y: number; width: number; height: number }} */ (
    await notice.boundingBox()
  );
  const pixel = async (/** @type {number} */ at) =>
    (await visited.page.screenshot({ clip: { x: x + width - 40, y: y + at, width: 1, height: 1 } })).toString("base64");
  assert.equal(await pixel(2), await pixel(height - 2));
});

test("every failure says its cause and what to do", async () => {
  const page = await opened();
  const away = (_, response) => response.destroy();
  const cases = [
    [
      fail(400, { message: "5012 tokens, 4096 fit.", code: "context_length_exceeded", remedy: "Load it anew." }),
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
