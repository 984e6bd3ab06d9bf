// What becomes of an answer: it streams, is stopped, asked for again, copied, and goes on.
import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "./browser.mjs";
import { begin, event, piece, say, start } from "./fake_server.mjs";
import { answered, ask, opened, retry, said, server, texts } from "./fixture.mjs";

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
