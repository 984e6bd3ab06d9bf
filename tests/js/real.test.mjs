// The client and vscode-jsonrpc against the real runner and the model that ships with the package.
// $POCKETLLAMA_TEST_PYTHON is a Python that has the requirements.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { Session, load } from "pocketllama";
import { isRunning, until } from "./helpers.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const python = process.env.POCKETLLAMA_TEST_PYTHON;
const skip = python ? false : "POCKETLLAMA_TEST_PYTHON is not set";
const golden = JSON.parse(readFileSync(path("../data/golden.json"), "utf8"));
const greedy = { maxTokens: golden.max_tokens, temperature: 0 };

test("the client gives the golden text, streamed and whole", { skip }, async () => {
  const llm = await load("tales", { python });
  try {
    let streamed = "";
    for await (const piece of llm.complete(golden.prompt, greedy)) streamed += piece;
    assert.equal(streamed, golden.text);
    const result = await llm.complete(golden.prompt, greedy).result();
    assert.equal(result.text, golden.text);
    assert.equal(result.usage.completionTokens, golden.max_tokens);
    assert.equal(result.finishReason, "length");
    assert.equal(await llm.detokenize(await llm.tokenize("café 🦙")), "café 🦙");
    assert.ok((await llm.embed("Once")).length > 0);
  } finally {
    await llm.close();
  }
});

test("a conversation goes on, is saved, and evaluates only what is new", { skip }, async () => {
  const llm = await load("tales", { python, template: "vicuna" });
  const folder = await mkdtemp(join(tmpdir(), "pocketllama-"));
  try {
    const session = new Session(llm, { system: "Be brief.", maxTokens: 6, temperature: 0 });
    let streamed = "";
    for await (const piece of session.say("Tell me of a king.")) streamed += piece;
    assert.deepEqual(session.messages.at(-1), { role: "assistant", content: streamed });
    await session.save(join(folder, "talk.json"));
    const second = await session.say("And a queen.").result();
    assert.ok(second.timings.promptTokensEvaluated < second.usage.promptTokens / 2);
    const again = await Session.load(join(folder, "talk.json"), llm);
    assert.equal(await again.say("And a queen.").text(), second.text);
    await assert.rejects(session.say("x ".repeat(600)).text(), ({ kind, data }) => kind === "ContextOverflow" && data.headroom < 0);
    const forgetting = await session.say("word ".repeat(440), { overflow: "forget" }).result();
    assert.ok(forgetting.forgotten > 0 && forgetting.finishReason === "length");
  } finally {
    await llm.close();
    await rm(folder, { recursive: true });
  }
});

test("a completion that is left is cancelled, and a killed runner replaced", { skip }, async () => {
  const llm = await load("tales", { python });
  try {
    const completion = llm.complete("Once", { maxTokens: 400, temperature: 0 });
    for await (const piece of completion) if (piece) break;
    assert.equal((await completion.result()).finishReason, "cancelled");
    const { pid } = llm;
    await assert.rejects(async () => {
      for await (const piece of llm.complete("Once", { maxTokens: 400, temperature: 0 })) if (piece) process.kill(pid, "SIGKILL");
    }, { kind: "RunnerError", message: /SIGKILL/ });
    assert.equal((await llm.complete(golden.prompt, greedy).text()), golden.text);
    assert.notEqual(llm.pid, pid);
    assert.ok(!isRunning(pid));
  } finally {
    await llm.close();
  }
});

test("what the runner refuses has its kind", { skip }, async () => {
  const llm = await load("tales", { python });
  try {
    await assert.rejects(llm.complete("Once", { temperature: -1 }).text(), { kind: "UsageError" });
    await assert.rejects(llm.complete("tale ".repeat(5000)).text(), { kind: "ContextOverflow" });
    await assert.rejects(llm.detokenize([-1]), { name: "PocketllamaError" });
  } finally {
    await llm.close();
  }
  await assert.rejects(load("/no/such/model.gguf", { python }), { kind: "ModelNotFound", exitCode: 3 });
});

const unmodified = existsSync(path("../../node_modules/vscode-jsonrpc")) ? skip : "vscode-jsonrpc is not installed: npm ci";

test("vscode-jsonrpc, unmodified, with headers", { skip: unmodified }, async () => {
  const { CancellationTokenSource, StreamMessageReader, StreamMessageWriter, createMessageConnection, ProgressType } =
    createRequire(import.meta.url)("vscode-jsonrpc/node");
  const env = { ...process.env, PYTHONPATH: path("../../py") };
  const child = spawn(python, ["-m", "pocketllama", "rpc"], { env, stdio: ["pipe", "pipe", "inherit"] });
  const connection = createMessageConnection(new StreamMessageReader(child.stdout), new StreamMessageWriter(child.stdin));
  connection.listen();
  const hello = await connection.sendRequest("initialize", { protocolVersion: 1, clientInfo: { name: "vscode-jsonrpc" } });
  assert.equal(hello.serverInfo.name, "pocketllama");

  const whole = await connection.sendRequest("complete", { prompt: golden.prompt, max_tokens: golden.max_tokens, temperature: 0 });
  assert.equal(whole.text, golden.text);

  const pieces = [];
  connection.onProgress(new ProgressType(), 2, ({ text }) => pieces.push(text)); // its ids count from 0
  await connection.sendRequest("complete", { prompt: golden.prompt, max_tokens: golden.max_tokens, temperature: 0, stream: true });
  assert.equal(pieces.join(""), golden.text);

  const source = new CancellationTokenSource();
  connection.onProgress(new ProgressType(), 3, () => source.cancel());
  const cut = await connection.sendRequest("complete", { prompt: golden.prompt, max_tokens: 400, temperature: 0, stream: true }, source.token);
  assert.equal(cut.finish_reason, "cancelled");

  await assert.rejects(connection.sendRequest("no/such"), { code: -32601 });
  const ended = once(child, "exit");
  assert.equal(await connection.sendRequest("shutdown"), null);
  await connection.sendNotification("exit");
  assert.deepEqual(await ended, [0, null]);
  connection.dispose();
  await until(() => !isRunning(child.pid));
});
