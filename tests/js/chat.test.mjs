// Conversations, against the tests' own runner; its answer depends on the last message.

import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { Session, load } from "pocketllama";
import { FAKE } from "./helpers.mjs";

const require = createRequire(import.meta.url);
const user = (content) => ({ role: "user", content });

async function using(body, options = {}) {
  const llm = await load("tales", { command: FAKE, ...options });
  const folder = await mkdtemp(join(tmpdir(), "pocketllama-"));
  try {
    return await body(llm, folder);
  } finally {
    await llm.close();
    await rm(folder, { recursive: true });
  }
}

test("a chat is read as pieces, as text, and as a result", () => using(async (llm) => {
  const completion = llm.chat([user("count:2")]);
  const pieces = [];
  for await (const piece of completion) pieces.push(piece);
  assert.deepEqual(pieces, ["word0 ", "word1 "]);
  const { message, forgotten, finishReason } = await completion.result();
  assert.deepEqual([message, forgotten, finishReason], [{ role: "assistant", content: "word0 word1 " }, 0, "length"]);
  assert.equal((await llm.complete("count:1").result()).message, undefined);
}));

test("options of a chat get the protocol's names", () => using(async (llm) => {
  const tools = [{ type: "function", function: { name: "clock" } }];
  const calls = { toolChoice: "required", parallelToolCalls: false };
  const options = { maxTokens: 5, tools, ...calls, schema: { type: "object" }, template: "chatml", templateVariables: { think: false }, overflow: "forget" };
  const sent = JSON.parse(await llm.chat([user("params")], options).text());
  assert.deepEqual(sent, {
    messages: [user("params")], model: "tales", stream: false, max_tokens: 5, tools, tool_choice: "required", parallel_tool_calls: false, schema: { type: "object" }, template: "chatml",
    template_variables: { think: false }, overflow: "forget",
  });
  assert.throws(() => llm.chat([user("x")], { max_tokens: 1 }), /chat\(\) has no option 'max_tokens'/);
  assert.throws(() => llm.chat("x"), /array of messages/);
}));

test("every sampler has its option", () => using(async (llm) => {
  const options = { minP: 0.1, typicalP: 0.9, dryMultiplier: 0.5, xtcProbability: 0.2, logitBias: { 5: -1 }, frequencyPenalty: 0.1 };
  const { messages, model, stream, ...sent } = JSON.parse(await llm.chat([user("params")], options).text());
  assert.deepEqual(sent, { min_p: 0.1, typical_p: 0.9, dry_multiplier: 0.5, xtc_probability: 0.2, logit_bias: { 5: -1 }, frequency_penalty: 0.1 });
}));

test("a chat is aborted, and its messages are those of the call", () => using(async (llm) => {
  const abort = new AbortController();
  await assert.rejects(async () => {
    for await (const piece of llm.chat([user("hold")], { signal: abort.signal })) if (piece) abort.abort();
  }, { name: "AbortError" });
  const messages = [user("params")];
  const completion = llm.chat(messages);
  messages.push(user("later"));
  assert.deepEqual(JSON.parse(await completion.text()).messages, [user("params")]);
}));

test("the template is said on the runner's command line", async () => {
  const argv = JSON.parse(await using((llm) => llm.complete("argv").text(), { template: "my.jinja" }));
  assert.deepEqual(argv, ["rpc", "-m", "tales", "--template=my.jinja"]);
});

test("a session keeps what was said", () => using(async (llm) => {
  const session = new Session(llm, { system: "Be brief.", maxTokens: 9 });
  let streamed = "";
  for await (const piece of session.say("count:2")) streamed += piece;
  const answer = { role: "assistant", content: streamed };
  assert.deepEqual(session.messages, [{ role: "system", content: "Be brief." }, user("count:2"), answer]);
  const sent = JSON.parse(await session.say("params", { seed: 3 }).text());
  assert.deepEqual(sent.messages, [{ role: "system", content: "Be brief." }, user("count:2"), answer, user("params")]);
  assert.deepEqual([sent.max_tokens, sent.seed], [9, 3]);
  assert.equal(session.messages.length, 5);
  await session.retry().result();
  assert.equal(session.messages.length, 5);
  session.system = undefined;
  session.reset();
  assert.deepEqual(session.messages, []);
  assert.throws(() => session.retry(), /no answer yet/);
}));

test("a turn that is left keeps what there was, and one that fails keeps nothing", () => using(async (llm) => {
  const session = new Session(llm);
  for await (const piece of session.say("hold")) if (piece) break;
  assert.deepEqual(session.messages, [user("hold"), { role: "assistant", content: "first " }]);
  await assert.rejects(session.say("nonsense").text(), /no such prompt/);
  await assert.rejects(async () => {
    for await (const piece of session.say("nonsense")) assert.fail(piece);
  }, /no such prompt/);
  assert.equal(session.messages.length, 2);
  assert.throws(() => new Session({}), TypeError);
}));

test("a session is saved and goes on", () => using(async (llm, folder) => {
  const file = join(folder, "talk.json");
  const session = new Session(llm, { system: "Bé 🦙", lastNTokens: 3, signal: AbortSignal.timeout(60_000) });
  await session.say("count:1").text();
  await session.save(file);
  const saved = JSON.parse(await readFile(file, "utf8"));
  assert.deepEqual([saved.format, saved.version, saved.options, saved.model], ["pocketllama-session", 1, { last_n_tokens: 3 }, "tales"]);
  assert.deepEqual(await readdir(folder), ["talk.json"]);
  const again = await require("pocketllama").Session.load(file, llm, { seed: 1 });
  assert.deepEqual([again.messages, again.options, again.system], [session.messages, { lastNTokens: 3, seed: 1 }, "Bé 🦙"]);
  await writeFile(file, "{");
  await assert.rejects(Session.load(file, llm), { kind: "UsageError" });
  await assert.rejects(Session.load(join(folder, "none"), llm), { kind: "StorageError" });
  await assert.rejects(session.save(join(folder, "none", "x")), { kind: "StorageError" });
}));
