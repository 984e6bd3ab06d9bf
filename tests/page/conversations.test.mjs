// Conversations: the list of them, as files, in two tabs, cut short, and long.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { until } from "./browser.mjs";
import { say, start } from "./fake_server.mjs";
import { answered, ask, opened, said, server, texts } from "./fixture.mjs";
import { SAMPLE } from "./sample.mjs";

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

  // The menu has the focus, and its place, when its button's click is over: no key gets lost in between.
  const menu = await page.evaluate(() => {
    const box = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
    box("open-menu").click();
    const [at, under] = ["menu", "open-menu"].map((id) => box(id).getBoundingClientRect());
    return { focused: document.activeElement?.id, below: at.top - under.bottom, right: at.right - under.right };
  });
  assert.equal(menu.focused, "rename");
  assert.ok(Math.abs(menu.below - 4) < 1 && Math.abs(menu.right) < 1, JSON.stringify(menu));
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
