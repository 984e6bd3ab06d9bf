// Debian's Chromium, driven by Playwright, and a page in it that notices what must not happen.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PROGRAM = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => path && existsSync(path),
);

/** Wait until `ask` gives something true; fail if it never does. */
export async function until(ask, patience = 20_000) {
  for (const deadline = Date.now() + patience; !(await ask());) {
    if (Date.now() > deadline) throw new Error(`never came true: ${ask}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function launch() {
  if (!PROGRAM)
    throw new Error("There is no Chromium. Install one (apt-get install chromium), or name it in CHROMIUM.");
  // As root, as in most containers, Chromium runs only without its sandbox.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return await chromium.launch({ executablePath: PROGRAM, args });
}

/**
 * A page in a profile of its own. `trouble` collects what must not happen: errors, refusals by the page's policy,
 * requests to elsewhere, dialogs, and calls of `pwned`.
 * @param {import("playwright-core").Browser} browser
 * @param {string} url
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function visit(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  /** @type {string[]} */
  const trouble = [];
  let home = url;
  await context.exposeFunction("pwned", () => trouble.push("pwned() was called"));
  const watch = (page) => {
    page.on("pageerror", (error) => trouble.push(`error: ${error.stack}`));
    page.on("dialog", (dialog) => (trouble.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
    page.on("console", (message) => {
      // A failed request is the test's doing; a refusal by the page's policy would be the page's.
      if (message.type() === "error" && !/Failed to load resource|net::ERR/.test(message.text()))
        trouble.push(`console: ${message.text()}`);
    });
    page.on("request", (request) => {
      const there = new URL(request.url());
      if (there.protocol !== "blob:" && there.origin !== new URL(home).origin)
        trouble.push(`request: ${request.url()}`);
    });
    page.on("framenavigated", (frame) => frame !== page.mainFrame() && trouble.push(`a frame: ${frame.url()}`));
  };
  context.on("page", watch);
  const page = await context.newPage();
  await page.goto(url);
  return { context, page, trouble, from: (/** @type {string} */ there) => (home = there) };
}
