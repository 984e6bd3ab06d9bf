import assert from "node:assert/strict";
import test from "node:test";

import { RpcConnection } from "../../js/rpc.js";

/** A connection whose peer is the test. */
function connect(options = {}) {
  const sent = [];
  const broken = [];
  const busy = [];
  const rpc = new RpcConnection({
    write: (bytes) => sent.push(JSON.parse(bytes.toString())),
    onBroken: (error) => broken.push(error.message),
    onBusy: (now) => busy.push(now),
    ...options,
  });
  const say = (message) => rpc.receive(Buffer.from(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`));
  return { rpc, sent, broken, busy, say };
}

test("answers are matched by id, in any order", async () => {
  const { rpc, sent, busy, say } = connect();
  const first = rpc.request("a", { x: 1 }).answer;
  const second = rpc.request("b").answer;
  assert.deepEqual(sent, [
    { jsonrpc: "2.0", id: 1, method: "a", params: { x: 1 } },
    { jsonrpc: "2.0", id: 2, method: "b", params: {} },
  ]);
  say({ id: 2, result: null });
  say({ id: 1, result: ["one"] });
  assert.deepEqual(await Promise.all([first, second]), [["one"], null]);
  assert.deepEqual(busy, [true, false]);
});

test("bytes may be cut anywhere, within a character too", async () => {
  for (const size of [1, 2, 3, 5, 1000]) {
    const { rpc } = connect();
    const pieces = [];
    const { answer } = rpc.request("complete", {}, { onProgress: ({ text }) => pieces.push(text) });
    const bytes = Buffer.from(
      '{"jsonrpc":"2.0","method":"$/progress","params":{"token":1,"value":{"text":"café 你好 🦙"}}}\r\n\n' +
      '{"jsonrpc":"2.0","id":1,"result":"Ünïcödé"}\n',
    );
    for (let at = 0; at < bytes.length; at += size) rpc.receive(bytes.subarray(at, at + size));
    assert.equal(await answer, "Ünïcödé");
    assert.deepEqual(pieces, ["café 你好 🦙"]);
  }
});

test("an error answer becomes a PocketllamaError", async () => {
  const { rpc, say } = connect();
  const { answer } = rpc.request("x");
  say({ id: 1, error: { code: -32021, message: "No such model.", data: { kind: "ModelNotFound", remedy: "pull it", near: ["tales"] } } });
  await assert.rejects(answer, (error) => {
    assert.equal(error.name, "PocketllamaError");
    assert.equal(error.code, -32021);
    assert.equal(error.kind, "ModelNotFound");
    assert.equal(error.exitCode, 3);
    assert.equal(error.remedy, "pull it");
    assert.deepEqual(error.data, { kind: "ModelNotFound", near: ["tales"] });
    assert.equal(error.describe(), "No such model.\n  pull it");
    return true;
  });
});

test("an abort rejects at once with the signal's reason, tells the peer, and a late answer is ignored", async () => {
  const { rpc, sent, broken, busy, say } = connect();
  const abort = new AbortController();
  const { answer } = rpc.request("x", {}, { signal: abort.signal });
  abort.abort();
  await assert.rejects(answer, { name: "AbortError" });
  assert.deepEqual(sent[1], { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } });
  assert.deepEqual(busy, [true, false]);
  say({ id: 1, result: 1 });
  say({ method: "$/progress", params: { token: 1, value: {} } });
  assert.deepEqual(broken, []);

  const reason = new Error("mine");
  const late = new AbortController();
  late.abort(reason);
  await assert.rejects(rpc.request("y", {}, { signal: late.signal }).answer, reason);
  assert.equal(sent.length, 2, "an aborted request is not sent");
});

test("cancel() asks for what there is, and only while the answer is awaited", async () => {
  const { rpc, sent, say } = connect();
  const { answer, cancel } = rpc.request("x");
  cancel();
  assert.deepEqual(sent[1], { jsonrpc: "2.0", method: "$/cancelRequest", params: { id: 1 } });
  say({ id: 1, result: "partial" });
  assert.equal(await answer, "partial");
  cancel();
  assert.equal(sent.length, 2);
});

test("a failing progress function ends its own request only", async () => {
  const { rpc, sent, say } = connect();
  const mine = rpc.request("a", {}, { onProgress() { throw new Error("my mistake"); } }).answer;
  const other = rpc.request("b").answer;
  say({ method: "$/progress", params: { token: 1, value: {} } });
  await assert.rejects(mine, /my mistake/);
  assert.deepEqual(sent[2].params, { requestId: 1 });
  say({ id: 2, result: "fine" });
  assert.equal(await other, "fine");
});

const NOT_THE_PROTOCOL = {
  "text": Buffer.from("Segmentation fault\n"),
  "a cut message": Buffer.from('{"jsonrpc":"2.0","id":1\n'),
  "a number": Buffer.from("42\n"),
  "null": Buffer.from("null\n"),
  "an array": Buffer.from("[]\n"),
  "an id that was never given": Buffer.from('{"jsonrpc":"2.0","id":"a","result":1}\n'),
  "bytes that are not UTF-8": Buffer.from([0x22, 0xff, 0x22, 0x0a]),
  "a request that could not be read": Buffer.from('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}\n'),
  "a line without an end": Buffer.alloc(2000, "x"),
  "a long line": Buffer.from(`${"x".repeat(2000)}\n`),
};
for (const [what, bytes] of Object.entries(NOT_THE_PROTOCOL)) {
  test(`a peer that writes ${what} is given up`, async () => {
    const { rpc, broken } = connect({ longestLine: 1000 });
    const { answer } = rpc.request("x");
    rpc.receive(bytes);
    await assert.rejects(answer, { code: -32060, message: /does not speak the protocol/ });
    assert.equal(broken.length, 1);
    rpc.receive(Buffer.from("more\n"));
    assert.equal(broken.length, 1);
    await assert.rejects(rpc.request("later").answer, { code: -32060 });
  });
}

test("hostile progress does no harm", async () => {
  const { rpc, broken, say } = connect();
  const { answer } = rpc.request("x");
  for (const params of [undefined, null, 7, {}, { token: 99, value: {} }, { token: "__proto__", value: {} }]) say({ method: "$/progress", params });
  say({ id: 99, result: 1 });
  say({ id: 1, result: "still here" });
  assert.equal(await answer, "still here");
  assert.deepEqual(broken, []);
});

test("a request of the peer is refused, a notification ignored", () => {
  const { sent, say } = connect();
  say({ id: 7, method: "window/showMessage", params: {} });
  say({ method: "telemetry" });
  assert.equal(sent.length, 1);
  assert.equal(sent[0].id, 7);
  assert.equal(sent[0].error.code, -32601);
});

test("what is longer than the peer takes is not sent", async () => {
  const { rpc, sent, busy } = connect();
  rpc.maxMessageBytes = 100;
  await assert.rejects(rpc.request("x", { prompt: "ü".repeat(60) }).answer, { kind: "MessageTooLarge" });
  assert.deepEqual([sent, busy], [[], []]);
});

test("fail() rejects everything with the first reason", async () => {
  const { rpc } = connect();
  const answers = [rpc.request("a").answer, rpc.request("b").answer];
  const reason = new Error("gone");
  rpc.fail(reason);
  rpc.fail(new Error("second"));
  for (const answer of [...answers, rpc.request("c").answer]) await assert.rejects(answer, reason);
});
