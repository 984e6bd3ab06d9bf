// Makes docs/page.png: the page on the server that runs at the given address, with `tales`.
//   pocketllama serve & npm ci && node docs/page.mjs http://127.0.0.1:8080/

import { fileURLToPath } from "node:url";
import { launch, visit } from "../tests/page/browser.mjs";

const STORIES = [
  "The wind blew over the sea, and",
  "Once upon a time there was a little",
  "In a garden behind the castle there grew",
];

const browser = await launch();
const { page } = await visit(browser, process.argv[2], { viewport: { width: 1180, height: 720 } });
page.setDefaultTimeout(120_000);
await page.waitForSelector("#welcome:not([hidden])");
await page.click("#open-settings");
await page.fill("#s-seed", process.argv[3] ?? "4");
await page.fill("#s-temperature", "0.5");
await page.fill("#s-max_tokens", "90");
await page.keyboard.press("Escape");
for (const story of STORIES) {
  await page.click("#new-chat");
  await page.waitForSelector("#welcome:not([hidden])");
  await page.fill("#prompt", story);
  await page.press("#prompt", "Enter");
  await page.waitForSelector(".figures");
}
await page.click("#conversations li:nth-child(2) a");
await page.waitForFunction(() => document.title.startsWith("Once upon"));
await page.click("text=Go on");
await page.waitForFunction(() => document.querySelectorAll(".figures").length === 2);
await page.waitForTimeout(300);
await page.mouse.move(0, 0);
await page.screenshot({ path: fileURLToPath(new URL("page.png", import.meta.url)) });
await browser.close();
