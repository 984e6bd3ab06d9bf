// The client against real processes: a runner of the tests' own that speaks the protocol and misbehaves on demand.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import test from "node:test";

import { PocketllamaError, load } from "pocketllama";
import { FAKE, isRunning, program, until } from "./helpers.mjs";

const require = createRequire(import.meta.url);

/** A model for one test. */
async function using(body, { model = "tales", mode = "", ...options } = {}) {
  const llm = await load(model, { command: FAKE, env: { FAKE: mode }, ...options });
  try {
    return await body(llm);
  } finally {
    await llm.close();
  }
}

test("a completion is read as pieces, as text, and as a result", () => using(async (llm) => {
  const completion = llm.complete("count:3");
  const pieces = [];
  for await (const piece of completion) pieces.push(piece);
  assert.deepEqual(pieces, ["word0 ", "word1 ", "word2 "]);
  const result = await completion.result();
  assert.deepEqual(result, {
    text: "word0 word1 word2 ", finishReason: "length", usage: { promptTokens: 3, completionTokens: 3 },
    timings: { promptMs: 1, decodeMs: 2.5 }, model: "tales",
  });
  assert.equal(await llm.complete("count:2").text(), "word0 word1 ");
  assert.equal(await completion.text(), "word0 word1 word2 ", "the answer is kept");
}));

test("iterating after the result gives the text in one piece, and iterating twice is refused", () => using(async (llm) => {
  const completion = llm.complete("count:2");
  await completion.result();
  const pieces = [];
  for await (const piece of completion) pieces.push(piece);
  assert.deepEqual(pieces, ["word0 word1 "]);
  await assert.rejects(completion[Symbol.asyncIterator]().next(), TypeError);
}));

test("how a model is loaded is said on the runner's command line", async () => {
  const argv = (options) => using(async (llm) => JSON.parse(await llm.complete("argv").text()), options);
  assert.deepEqual(await argv({}), ["rpc", "-m", "tales"]);
  const options = { contextLength: 64, kvType: "q8_0", mmap: false, draft: "small" };
  assert.deepEqual(await argv(options), ["rpc", "-m", "tales", "--ctx=64", "--kv-type=q8_0", "--no-mmap", "--draft=small"]);
});

test("options get the protocol's names; what is not given is not sent", () => using(async (llm) => {
  const sent = async (options) => JSON.parse(await llm.complete("params", options).text());
  assert.deepEqual(await sent(), { prompt: "params", model: "tales", stream: false });
  const options = { maxTokens: 1, temperature: 0, topK: 2, topP: 0.5, repetitionPenalty: 1, lastNTokens: 8, seed: 3, stop: "x", contextShift: true, keep: 2, speculate: "ngram" };
  assert.deepEqual(await sent(options), {
    prompt: "params", model: "tales", stream: false, max_tokens: 1, temperature: 0, top_k: 2, top_p: 0.5,
    repetition_penalty: 1, last_n_tokens: 8, seed: 3, stop: ["x"], context_shift: true, keep: 2, speculate: "ngram",
  });
}));

test("wrong arguments are named", () => using(async (llm) => {
  assert.throws(() => llm.complete("x", { max_tokens: 1 }), { name: "TypeError", message: /no option 'max_tokens'.*maxTokens/ });
  assert.throws(() => llm.complete(42), { name: "TypeError", message: /prompt/ });
  assert.throws(() => llm.complete("x", null), TypeError);
  await assert.rejects(llm.tokenize("x", { Bos: true }), { name: "TypeError", message: /'Bos'/ });
  await assert.rejects(load("tales", { onprogress() {} }), { name: "TypeError", message: /'onprogress'/ });
  await assert.rejects(load(""), TypeError);
  await assert.rejects(load(null), TypeError);
}));

test("the other methods", () => using(async (llm) => {
  assert.deepEqual(await llm.tokenize("né🦙"), [110, 233, 129433]);
  assert.deepEqual(await llm.tokenize("n", { bos: true }), [1, 110]);
  assert.deepEqual(await llm.tokenize("n<s>", { special: true }), [110, 1]);
  assert.equal(await llm.detokenize([110, 129433]), "n🦙");
  assert.deepEqual(await llm.embed("four"), [4, 0.5]);
  assert.deepEqual(await llm.embed("four", { pooling: "mean", normalize: true }), [1, 2]);
  assert.deepEqual(await llm.models(), [{ name: "tales", licenseName: "MIT" }]);
  assert.equal((await llm.status()).defaultModel, "tales");
  assert.equal((await llm.status()).pid, llm.pid);
  assert.equal(llm.model, "tales");
}));

test("text survives: NUL, lone surrogates, newlines, characters cut between reads", () => using(async (llm) => {
  const text = "a\0b\n\u2028 né 你好 🦙";
  assert.deepEqual(await llm.detokenize(await llm.tokenize(text)), text);
  assert.equal(await llm.complete("bytes:né 你好 🦙").text(), "né 你好 🦙");
  assert.equal((await llm.tokenize("\ud800")).length, 1);
}));

test("a missing remote model is fetched, with progress", async () => {
  const seen = [];
  await using(async (llm) => {
    assert.equal(llm.model, "hf:a/b");
    assert.deepEqual(seen.map(({ done }) => done), [0, 50, 100]);
    assert.deepEqual(seen[2], { file: "a.gguf", done: 100, total: 100 });
  }, { model: "hf:a/b", onProgress: (progress) => seen.push(progress) });
});

test("what cannot be fetched rejects, and leaves no process", async () => {
  await assert.rejects(load("hf:gone", { command: FAKE }), { name: "PocketllamaError", kind: "DownloadError", message: "the hub is down" });
});

test("loading can be aborted while it fetches", async () => {
  const abort = new AbortController();
  const loading = load("hf:slow", { command: FAKE, signal: abort.signal });
  setTimeout(() => abort.abort(), 200);
  await assert.rejects(loading, { name: "AbortError" });
  await assert.rejects(load("tales", { command: FAKE, signal: abort.signal }), { name: "AbortError" });
});

test("leaving the loop cancels the request", () => using(async (llm) => {
  const completion = llm.complete("hold");
  for await (const piece of completion) {
    assert.equal(piece, "first ");
    break;
  }
  const { text, finishReason } = await completion.result();
  assert.deepEqual([text, finishReason], ["first ", "cancelled"]);
  const { cancelled, held } = await llm.status();
  assert.equal(cancelled.length, 1);
  assert.equal(held, 0);
}));

test("an abort stops a loop, a text and a result, with the signal's reason", () => using(async (llm) => {
  const abort = new AbortController();
  const completion = llm.complete("hold", { signal: abort.signal });
  await assert.rejects(async () => {
    for await (const piece of completion) {
      assert.equal(piece, "first ");
      abort.abort();
    }
  }, { name: "AbortError" });
  await assert.rejects(completion.result(), { name: "AbortError" });

  const reason = new Error("enough");
  const second = new AbortController();
  const waiting = assert.rejects(llm.complete("hold", { signal: second.signal }).text(), reason);
  await until(async () => (await llm.status()).held === 1);
  second.abort(reason);
  await waiting;
  await until(async () => (await llm.status()).held === 0);
  await assert.rejects(llm.complete("count:1", { signal: second.signal }).text(), reason);
  assert.equal(await llm.complete("count:1").text(), "word0 ", "the others go on");
}));

test("an abort between pieces that have come already drops them", () => using(async (llm) => {
  const abort = new AbortController();
  const seen = [];
  await assert.rejects(async () => {
    for await (const piece of llm.complete("count:3", { signal: abort.signal })) {
      seen.push(piece);
      await llm.status(); // by now the rest has come
      abort.abort();
    }
  }, { name: "AbortError" });
  assert.deepEqual(seen, ["word0 "]);
}));

test("requests run side by side", () => using(async (llm) => {
  const texts = await Promise.all(Array.from({ length: 50 }, (_, i) => llm.complete(`count:${i}`).text()));
  texts.forEach((text, i) => assert.equal(text.split(" ").length - 1, i));
}));

test("a slow reader loses nothing", () => using(async (llm) => {
  let pieces = 0;
  for await (const piece of llm.complete("count:20000")) {
    assert.equal(piece, `word${pieces++} `);
    if (pieces % 5000 === 0) await llm.status();
  }
  assert.equal(pieces, 20000);
}));

test("an error of the runner has its code, remedy and data", () => using(async (llm) => {
  await assert.rejects(llm.complete("busy").text(), (error) => {
    assert.ok(error instanceof PocketllamaError);
    assert.ok(error instanceof require("pocketllama").PocketllamaError, "import and require share the class");
    assert.deepEqual([error.code, error.kind, error.remedy, error.data.limit], [-32070, "Busy", "Try later.", 1]);
    return true;
  });
}));

for (const [prompt, how, cause] of [
  ["exit", /ended with exit code 3.*something dreadful happened/s, { exitCode: 3, signal: null }],
  ["kill", /was killed by SIGKILL/, { exitCode: null, signal: "SIGKILL" }],
]) {
  test(`when the runner dies (${prompt}), every pending call rejects and the next one starts a new runner`, () => using(async (llm) => {
    const first = llm.pid;
    const waiting = assert.rejects(llm.complete("hold").text(), { kind: "RunnerError", message: how });
    await until(async () => (await llm.status()).held === 1);
    const pieces = [];
    await assert.rejects(async () => {
      for await (const piece of llm.complete(prompt)) pieces.push(piece);
    }, (error) => {
      assert.equal(error.code, -32060);
      assert.match(error.message, how);
      assert.match(error.remedy, /next call/);
      assert.equal(error.cause.exitCode, cause.exitCode);
      assert.equal(error.cause.signal, cause.signal);
      return true;
    });
    await waiting;
    assert.deepEqual(pieces, ["first "], "what had come is delivered first");
    const [a, b] = await Promise.all([llm.complete("count:1").text(), llm.status()]);
    assert.equal(a, "word0 ");
    assert.notEqual(b.pid, first);
    assert.equal(llm.pid, b.pid, "one new runner for both calls");
    assert.ok(!isRunning(first));
  }));
}

for (const prompt of ["garbage", "null"]) {
  test(`a runner that does not speak the protocol (${prompt}) is ended`, () => using(async (llm) => {
    const { pid } = llm;
    await assert.rejects(llm.complete(prompt).text(), { kind: "RunnerError", message: /does not speak the protocol/ });
    await until(() => !isRunning(pid));
    assert.equal(await llm.complete("count:1").text(), "word0 ");
  }));
}

test("a megabyte on stderr does not stop the runner", async () => {
  let length = 0;
  await using(async (llm) => {
    assert.equal(await llm.complete("noise").text(), "quiet");
    await until(() => length === 2 ** 20);
  }, { onStderr: (text) => (length += text.length) });
});

test("a request that is too long is refused here", () => using(async (llm) => {
  await assert.rejects(llm.complete("x".repeat(2 ** 20)).text(), { kind: "MessageTooLarge" });
  assert.equal(await llm.complete("count:1").text(), "word0 ");
}));

test("a runner that dies at its start says why", async () => {
  await assert.rejects(load("tales", { command: FAKE, env: { FAKE: "stillborn" } }), {
    kind: "RunnerError", message: /exit code 1.*No module named 'fire'/s,
  });
});

test("a command that is not there, or cannot be run", async () => {
  for (const command of [["/no/such/command"], ["/etc/passwd/python"], ["a\0b"]]) {
    await assert.rejects(load("tales", { command }), { kind: "RunnerError", message: /could not be started/ });
  }
});

test("another protocol version is refused", async () => {
  await assert.rejects(load("tales", { command: FAKE, env: { FAKE: "future" } }), { message: /protocol 2/, remedy: /same version/ });
});

test("close() ends the process, rejects what waits, and may be called twice", async () => {
  const llm = await load("tales", { command: FAKE });
  const { pid } = llm;
  const waiting = assert.rejects(llm.complete("hold").text(), { kind: "EngineClosed" });
  await until(async () => (await llm.status()).held === 1);
  await Promise.all([llm.close(), llm.close()]);
  await waiting;
  assert.ok(!isRunning(pid));
  assert.equal(llm.pid, undefined);
  await assert.rejects(llm.status(), { kind: "EngineClosed" });
  await assert.rejects(llm.complete("count:1").text(), { kind: "EngineClosed" });
});

test("close() insists with a runner that does not listen", () => using(async (llm) => {
  const { pid } = llm;
  await llm.close();
  assert.ok(!isRunning(pid));
}, { mode: "stubborn" }));

test("close() takes back a start under way", async () => {
  const llm = await load("tales", { command: FAKE });
  process.kill(llm.pid, "SIGKILL");
  await until(() => !isRunning(llm.pid));
  const call = assert.rejects(llm.status(), { name: "PocketllamaError" });
  await llm.close();
  await call;
});

test("a model is disposed of where the language can", { skip: Symbol.asyncDispose ? false : "this Node has no Symbol.asyncDispose" }, async () => {
  const llm = await load("tales", { command: FAKE });
  const { pid } = llm;
  await llm[Symbol.asyncDispose]();
  assert.ok(!isRunning(pid));
});

test("require() gives the same", async () => {
  const llm = await require("pocketllama").load("tales", { command: FAKE });
  assert.equal(await llm.complete("count:1").text(), "word0 ");
  await llm.close();
});

test("$POCKETLLAMA_RUNNER names the command; nonsense in it is refused", async () => {
  const llm = await load("tales", { env: { POCKETLLAMA_RUNNER: JSON.stringify(FAKE) }, offline: true });
  assert.equal((await llm.status()).offline, "1");
  await llm.close();
  for (const nonsense of ["python", "[]", "[1]", '{"a":1}']) {
    await assert.rejects(load("tales", { env: { POCKETLLAMA_RUNNER: nonsense } }), { kind: "UsageError", message: /POCKETLLAMA_RUNNER/ });
  }
});

const LOADED = `
  import { load } from "pocketllama";
  const llm = await load("tales", { command: ${JSON.stringify(FAKE)} });
  console.log(llm.pid);
`;

test("an idle model does not keep its program running, and ends with it", async () => {
  const run = program(LOADED);
  assert.deepEqual(await run.ended, { code: 0, signal: null });
  await until(() => !isRunning(Number(run.stdout)));
});

test("a pending call keeps its program running", async () => {
  const run = program(`${LOADED} console.log(await llm.complete("count:1").text());`);
  assert.equal((await run.ended).code, 0);
  assert.match(run.stdout, /word0/);
});

test("the runner goes when its parent is killed", async () => {
  const run = program(`${LOADED} for await (const piece of llm.complete("hold")) console.log(piece);`);
  await until(() => run.stdout.includes("first"));
  const pid = Number(run.stdout.split("\n")[0]);
  assert.ok(isRunning(pid));
  run.child.kill("SIGKILL");
  await run.ended;
  await until(() => !isRunning(pid));
});

test("an uncaught failure and process.exit() leave no runner", async () => {
  for (const end of ['throw new Error("mine");', "process.exit(5);"]) {
    const run = program(`process.on("uncaughtException", () => process.exit(5)); ${LOADED} setTimeout(() => { ${end} }); await llm.complete("hold").text();`);
    assert.equal((await run.ended).code, 5);
    await until(() => !isRunning(Number(run.stdout.split("\n")[0])));
  }
});
