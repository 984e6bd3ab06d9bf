// What every test of the page against the fake server begins with. To import it is to have its hooks: a browser for the
// file, and for each test a server of its own, `server`, and a page in which nothing may happen that must not.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach } from "node:test";

import { launch, visit } from "./browser.mjs";
import { FakeServer } from "./fake_server.mjs";

/** @type {import("playwright-core").Browser} */
export let browser;
/** @type {FakeServer} */
export let server;
/** @type {Awaited<ReturnType<typeof visit>>[]} */
export let visits;

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
export async function opened(options = {}, url = server.url) {
  const visited = await visit(browser, url, options);
  visits.push(visited);
  await visited.page.waitForSelector("#welcome:not([hidden]), article");
  return visited.page;
}

export const ask = async (page, text) => {
  await page.fill("#prompt", text);
  await page.press("#prompt", "Enter");
};
export const answered = (page) => page.waitForSelector("#stop", { state: "hidden" });
export const said = async (page, text) => {
  await ask(page, text);
  await answered(page);
};
export const retry = (page) => page.locator("article:last-child").getByRole("button", { name: "Retry" });
export const texts = (page) => page.locator("article .body").allInnerTexts();
export const body = (page) => page.evaluate(() => document.body.innerText);
