// Under the reader's hands and eyes: the keyboard, settings, scrolling, a phone, motion, and what axe objects to.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";

import { until } from "./browser.mjs";
import { begin, fail, piece, say, start } from "./fake_server.mjs";
import { answered, ask, opened, said, server } from "./fixture.mjs";
import { SAMPLE } from "./sample.mjs";

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
