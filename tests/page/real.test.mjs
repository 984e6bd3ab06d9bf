// The page on the real server, with the model that comes with pocketllama.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { launch, until, visit } from "./browser.mjs";

const REPO = fileURLToPath(new URL("../..", import.meta.url));
// The interpreter of the environment with the layer `serve`; by default, whatever the npx entry brings.
const COMMAND = process.env.POCKETLLAMA_TEST_PYTHON
  ? [process.env.POCKETLLAMA_TEST_PYTHON, "-m", "pocketllama"]
  : [process.execPath, `${REPO}/bin/pocketllama.js`];

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const retry = (page) => page.locator("article:last-child").getByRole("button", { name: "Retry" });

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/**
 * `pocketllama serve`, when it answers.
 * @param {number} port
 * @param {...string} options
 */
async function serving(port, ...options) {
  const [program, ...args] = [...COMMAND, "serve", "--port", String(port), ...options];
  const child = spawn(program, args, {
    cwd: REPO,
    env: { ...process.env, PYTHONPATH: `${REPO}/py` },
    stdio: ["ignore", "ignore", "pipe"],
    detached: true, // a group of its own: the npx entry has a child, and a kill is for both
  });
  const ended = once(child, "exit");
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (log += text));
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}:\n${log}`);
    return await fetch(`http://127.0.0.1:${port}/health`).then(
      (r) => r.ok,
      () => false,
    );
  }, 120_000);
  return {
    url: `http://127.0.0.1:${port}/`,
    /** What it counts. */
    metrics: async () => await (await fetch(`http://127.0.0.1:${port}/metrics`)).text(),
    async end(signal = "SIGTERM") {
      if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, signal);
      await ended;
    },
  };
}

test("a story with tales: streamed, stopped, retried, and told on after a restart", { timeout: 300_000 }, async () => {
  const port = await freePort();
  let server = await serving(port);
  const { page, context, trouble } = await visit(browser, server.url);
  page.setDefaultTimeout(120_000); // two busy cores, and a library that spins
  try {
    const response = await page.reload();
    const headers = response?.headers() ?? {};
    assert.match(headers["content-security-policy"], /default-src 'none'.*frame-ancestors 'none'/);
    await page.waitForSelector("#welcome:not([hidden])");
    assert.equal(await page.inputValue("#model"), "tales");
    assert.match(await page.innerText("#welcome"), /tales continues a text/);
    await page.click("#open-settings");
    await page.fill("#s-temperature", "0");
    await page.fill("#s-max_tokens", "40");
    await page.keyboard.press("Escape");
    const say = async (text) => {
      await page.fill("#prompt", text);
      await page.press("#prompt", "Enter");
      await page.waitForSelector("#stop", { state: "hidden" });
    };
    const answer = () => page.innerText("article:last-child .answer");
    await say("Once upon a time");
    const first = await answer();
    assert.match(first, /[a-z]{2,} [a-z]{2,} [a-z]{2,}/);
    assert.match(await page.innerText(".figures"), /^40 tokens · [\d.,]+ tokens\/s · tales$/);
    assert.match(await page.innerText("#context"), /^\d+ of [\d,]+ tokens of context$/);

    // Greedy: the same words again, also by a server that was killed and started anew.
    await server.end("SIGKILL");
    await retry(page).click();
    await page.waitForSelector(".failure");
    server = await serving(port);
    await page.waitForSelector("#notice", { state: "hidden" });
    await retry(page).click();
    await page.waitForSelector(".figures");
    assert.equal(await answer(), first);
    await page.reload();
    await page.waitForSelector(".figures");
    assert.equal(await answer(), first);

    // A stop frees the server's place.
    await page.click("#open-settings");
    await page.fill("#s-max_tokens", "");
    await page.fill("#s-temperature", "1");
    await page.keyboard.press("Escape");
    await page.fill("#prompt", "And then");
    await page.press("#prompt", "Enter");
    await page.waitForFunction(() => document.querySelector("article:last-child .answer")?.textContent);
    await page.keyboard.press("Escape");
    await page.waitForSelector("#stop", { state: "hidden" });
    await until(async () => !/^pocketllama_requests_(running|waiting)\{[^}]*\} [1-9]/m.test(await server.metrics()));

    // More than the context holds: the server's own words, and a new chat goes on.
    await say("word ".repeat(2000));
    assert.match(await page.innerText("article:last-child .failure"), /too long for the model[^]*512[^]*new chat/);
    await page.click("#new-chat");
    await page.waitForSelector("#welcome:not([hidden])");
    await say("Once upon a time");
    assert.match(await answer(), /[a-z]/);
    assert.deepEqual(trouble, []);
  } finally {
    await context.close();
    await server.end();
  }
});

test("a server with a key", { timeout: 120_000 }, async () => {
  const server = await serving(await freePort(), "--api-key", "sesame");
  const { page, context, trouble } = await visit(browser, server.url);
  try {
    await page.click("#notice button");
    await page.keyboard.type("sesame");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Escape");
    await page.waitForSelector("#notice", { state: "hidden" });
    assert.equal(await page.inputValue("#model"), "tales");
    assert.deepEqual(trouble, []);
  } finally {
    await context.close();
    await server.end();
  }
});
