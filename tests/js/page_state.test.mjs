// What the page keeps and says: conversations, settings, the store, the stream and the API, errors in words.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import test from "node:test";

import { Api, ApiError } from "../../py/pocketllama/serve/static/api.js";
import {
  Conversation,
  fromExport,
  toExport,
  toRequest,
  toText,
} from "../../py/pocketllama/serve/static/conversation.js";
import { describe } from "../../py/pocketllama/serve/static/failures.js";
import {
  accept,
  defaults,
  parse,
  SAMPLING,
  toRequest as optionsOf,
} from "../../py/pocketllama/serve/static/settings.js";
import { events, LONGEST_EVENT } from "../../py/pocketllama/serve/static/sse.js";
import { MemoryStore } from "../../py/pocketllama/serve/static/store.js";

const said = (conversation) =>
  conversation
    .path()
    .map(({ role, content }) => `${role[0]}:${content}`)
    .join(" ");

/** A conversation with a retried answer and an edited question. */
function branched() {
  const c = new Conversation();
  const q1 = c.add({ role: "user", content: "one", parent: null });
  const a1 = c.add({ role: "assistant", content: "ONE", parent: q1.id, model: "m" });
  const a2 = c.add({ role: "assistant", content: "One", parent: q1.id });
  const q2 = c.add({ role: "user", content: "two", parent: a2.id });
  const q3 = c.add({ role: "user", content: "three", parent: a2.id });
  return { c, q1, a1, a2, q2, q3 };
}

test("a conversation is a tree, of which one branch is shown", () => {
  const { c, q1, a1, a2, q2, q3 } = branched();
  assert.equal(said(c), "u:one a:One u:three");
  assert.deepEqual(c.children().get(q1.id), [a1.id, a2.id]);
  c.choose(a1.id);
  assert.equal(said(c), "u:one a:ONE");
  c.choose(a2.id); // back to the newest end of that branch
  assert.equal(said(c), "u:one a:One u:three");
  c.choose(q2.id);
  assert.equal(said(c), "u:one a:One u:two");
  assert.notEqual(c.head, q3.id);
  assert.throws(() => c.add({ role: "user", parent: "nobody" }), RangeError);
});

test("a conversation is named by what was asked first, until the reader names it", () => {
  const c = new Conversation();
  assert.equal(c.name, "New chat");
  c.add({ role: "user", content: `  \n first line ${"x".repeat(100)}\nsecond`, parent: null });
  assert.equal(c.name, `first line ${"x".repeat(69)}…`);
  c.title = "Mine";
  assert.equal(c.name, "Mine");
});

test("what is sent is the branch, without answers that said nothing", () => {
  const c = new Conversation();
  const q = c.add({ role: "user", content: "a", parent: null });
  const failed = c.add({ role: "assistant", parent: q.id });
  c.add({ role: "user", content: "b", parent: failed.id });
  // What stands on both sides of it is one message: templates refuse two of one role side by side.
  const asked = [{ role: "user", content: "a\n\nb" }];
  assert.deepEqual(toRequest(c.path()), asked);
  assert.deepEqual(toRequest(c.path(), " \n"), asked);
  assert.deepEqual(toRequest(c.path(), "Be brief."), [{ role: "system", content: "Be brief." }, ...asked]);
});

test("a text that is continued: the model's words follow as they come, the reader's begin anew or go on", () => {
  const message = (content, i) => ({ content, role: i % 2 ? "assistant" : "user", id: "", parent: null, created: 0 });
  const text = (...contents) => toText(contents.map(message));
  assert.equal(text("Once", " upon a time."), "Once upon a time.");
  assert.equal(text("Once", " upon a time.", "The end"), "Once upon a time.\n\nThe end");
  assert.equal(text("Once", " upon a", "time"), "Once upon a time");
  assert.equal(text("Once", " upon a ", "time", ""), "Once upon a time");
  assert.equal(text("Once", " upon.", "\ttime"), "Once upon.\ttime");
  assert.equal(text("A", "", "B"), "A B");
});

test("an export comes back whole", () => {
  const { c, q2 } = branched();
  c.choose(q2.id);
  Object.assign(c.messages.get(c.path()[1].id), {
    end: "length",
    stats: { prompt: 3, completion: 4, rate: 5.5 },
    thought: "t",
  });
  Object.assign(q2, { failure: { title: "a", cause: "b", remedy: "c" } });
  const file = toExport([c], new Date(0));
  assert.equal(JSON.parse(file).exported, "1970-01-01T00:00:00.000Z");
  const [back] = fromExport(file);
  assert.deepEqual(back.record(), c.record());
  assert.deepEqual(fromExport(toExport([])), []);
});

test("a file that says anything else is refused with its reason", () => {
  const good = JSON.parse(toExport([branched().c]));
  const refused = (change, reason) => {
    const file = structuredClone(good);
    change(file);
    assert.throws(
      () => fromExport(JSON.stringify(file)),
      (error) => error instanceof TypeError && reason.test(error.message),
      String(change),
    );
  };
  for (const [text, reason] of [
    ["", /not JSON/],
    ["{", /not JSON/],
    ["[]", /not an object/],
    ["null", /not an object/],
    ['{"a":1}', /not exported/],
  ]) {
    assert.throws(
      () => fromExport(text),
      (error) => error instanceof TypeError && reason.test(error.message),
      text,
    );
  }
  refused((f) => (f.version = 2), /version is 2/);
  refused((f) => (f.conversations = {}), /not exported/);
  refused((f) => (f.conversations[0] = 1), /not an object/);
  refused((f) => delete f.conversations[0].messages, /not a list/);
  refused((f) => (f.conversations[0].id = "../x"), /id is not one/);
  refused((f) => (f.conversations[0].created = "now"), /time/);
  refused((f) => (f.conversations[0].messages[0].role = "system"), /role/);
  refused((f) => (f.conversations[0].messages[0].content = { toString: 1 }), /content is not text/);
  refused((f) => (f.conversations[0].messages[0].id = 7), /id is not one/);
  refused((f) => (f.conversations[0].messages[1].id = f.conversations[0].messages[0].id), /one id/);
  refused((f) => (f.conversations[0].messages[0].parent = f.conversations[0].messages[1].id), /follows one/);
  refused((f) => (f.conversations[0].messages[0].parent = f.conversations[0].messages[0].id), /follows one/);
  refused((f) => (f.conversations[0].messages[0].failure = "x"), /failure/);
  // What is only strange is left out.
  const odd = structuredClone(good);
  Object.assign(odd.conversations[0], { head: "nobody", extra: 1 });
  Object.assign(odd.conversations[0].messages[0], {
    end: "exploded",
    stats: { rate: "fast", prompt: -1, completion: 2 },
    onclick: "x",
  });
  const [back] = fromExport(JSON.stringify(odd));
  assert.equal(said(back), "u:one a:One u:three");
  const first = back.record().messages[0];
  assert.deepEqual([first.end, first.stats, "onclick" in first], [undefined, { completion: 2 }, false]);
});

test("the store of a browser that keeps nothing", async () => {
  const store = new MemoryStore();
  const { c } = branched();
  await store.put(c.record(), { id: c.id, name: c.name, updated: 2 });
  await store.put(new Conversation({ id: "old" }).record(), { id: "old", name: "old", updated: 1 });
  assert.deepEqual(
    (await store.list()).map(({ id }) => id),
    [c.id, "old"],
  );
  const kept = await store.get(c.id);
  kept.messages[0].content = "changed"; // a copy
  assert.equal(Conversation.from(await store.get(c.id)).path()[0].content, "one");
  await store.remove("old");
  assert.equal((await store.all()).length, 1);
  await store.clear();
  assert.deepEqual([await store.list(), await store.get(c.id), store.lasting], [[], undefined, false]);
});

test("settings: what is empty is not sent, what is damaged is left out", () => {
  assert.deepEqual(optionsOf(defaults()), {});
  for (const text of [null, "", "{", "[]", "null", "7", '{"sampling":null}', '{"theme":"pink","model":7}'])
    assert.deepEqual(parse(text), defaults());
  const stored = {
    model: "m",
    system: "s",
    stop: "a\n\nb",
    theme: "dark",
    sampling: { temperature: 0, top_k: 1.5, seed: "7", max_tokens: -1, x: 1 },
  };
  const settings = parse(JSON.stringify(stored));
  assert.deepEqual(settings, { ...stored, sampling: { temperature: 0, seed: 7 } });
  assert.deepEqual(optionsOf(settings), { temperature: 0, seed: 7, stop: ["a", "b"] });
  const temperature = SAMPLING.find(({ name }) => name === "temperature");
  for (const bad of ["", " ", "a", "-1", "3", NaN, Infinity, null, undefined, {}, [], true])
    assert.equal(accept(temperature, bad), undefined, String(bad));
  assert.equal(accept(temperature, "0.70"), 0.7);
});

/** The events of a stream whose pieces are these. */
async function streamed(...pieces) {
  const bytes = pieces.map((piece) => (typeof piece === "string" ? new TextEncoder().encode(piece) : piece));
  const found = [];
  for await (const data of events(
    new ReadableStream({ pull: (c) => (bytes.length ? c.enqueue(bytes.shift()) : c.close()) }),
  ))
    found.push(data);
  return found;
}

test("server-sent events, however they are cut", async () => {
  const source =
    "\uFEFF: comment\nevent: x\ndata: one\n\ndata:two\r\ndata: 2\r\n\r\ndata: thrée 😀\r\rid: 1\n\ndata\n\ndata: \n\ndata: cut";
  const expected = ["one", "two\n2", "thrée 😀", ""];
  const bytes = new TextEncoder().encode(source);
  assert.deepEqual(await streamed(bytes), expected);
  assert.deepEqual(await streamed(...Array.from(bytes, (byte) => Uint8Array.of(byte))), expected);
  for (let at = 1; at < bytes.length; at++)
    assert.deepEqual(await streamed(bytes.slice(0, at), bytes.slice(at)), expected);
  await assert.rejects(streamed("data: ", "x".repeat(LONGEST_EVENT), "y"), RangeError);
  await assert.rejects(streamed(...Array(5).fill(`data: ${"x".repeat(LONGEST_EVENT / 4)}\n`)), RangeError);
});

/** A server that answers each request as `answer` does. */
async function serving(answer, ask) {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    return await ask(new Api({ base: `http://127.0.0.1:${server.address().port}/`, key: "k" }));
  } finally {
    server.closeAllConnections?.();
    server.close();
  }
}
const collect = async (api, request = {}, signal = undefined) => {
  const parts = [];
  for await (const part of api.answer(
    { model: { id: "m", completes: false }, asked: { messages: [] }, ...request },
    signal,
  ))
    parts.push(part);
  return parts;
};
const stream =
  (...chunks) =>
  (_, response) => {
    response.setHeader("content-type", "text/event-stream; charset=utf-8");
    response.end(
      chunks.map((chunk) => `data: ${typeof chunk === "string" ? chunk : JSON.stringify(chunk)}\n\n`).join(""),
    );
  };

test("an answer in parts, from both endpoints", async () => {
  const asked = [];
  const listen = (then) => (request, response) => {
    let body = "";
    request
      .on("data", (piece) => (body += piece))
      .on("end", () => {
        asked.push({ url: request.url, key: request.headers.authorization, body: JSON.parse(body) });
        then(request, response);
      });
  };
  const chat = stream(
    { choices: [{ delta: { role: "assistant", content: "" } }] },
    { choices: [{ delta: { reasoning_content: "hm" } }] },
    { choices: [{ delta: { content: "é" } }] },
    { choices: [{ delta: {}, finish_reason: "length" }] },
    { choices: [], usage: { prompt_tokens: 3, completion_tokens: 4 }, timings: { tokens_per_second: 5.5 } },
    "[DONE]",
  );
  const parts = await serving(listen(chat), (api) =>
    collect(api, { options: { top_k: 1 }, asked: { messages: [{ role: "user", content: "a" }] } }),
  );
  const usage = { prompt: 3, completion: 4 };
  assert.deepEqual(parts, [{}, { thought: "hm" }, { text: "é" }, { end: "length" }, { usage, rate: 5.5 }]);
  const plain = stream({ choices: [{ text: "b", finish_reason: "stop" }] });
  const request = {
    model: { id: "m", completes: true },
    asked: { prompt: "ab" },
  };
  assert.deepEqual(await serving(listen(plain), (api) => collect(api, request)), [{ text: "b", end: "stop" }]);
  const common = { model: "m", stream: true, stream_options: { include_usage: true } };
  assert.deepEqual(asked, [
    {
      url: "/v1/chat/completions",
      key: "Bearer k",
      body: { top_k: 1, messages: [{ role: "user", content: "a" }], ...common },
    },
    { url: "/v1/completions", key: "Bearer k", body: { prompt: "ab", ...common } },
  ]);
});

test("models, and what is known of them", async () => {
  const list = [
    { id: "a", max_model_len: 512 },
    { id: "b", meta: { n_ctx: 9 } },
    { id: "c", context_length: "x", chat_template: null },
    { id: 7 },
    null,
  ];
  const models = await serving(
    (_, response) => response.end(JSON.stringify({ data: list })),
    (api) => api.models(),
  );
  assert.deepEqual(models, [
    { id: "a", context: 512, completes: false },
    { id: "b", context: 9, completes: false },
    { id: "c", context: undefined, completes: true },
  ]);
  for (const body of ["", "[]", "{}", '{"data":{}}', "<html>"]) {
    await assert.rejects(
      serving(
        (_, response) => response.end(body),
        (api) => api.models(),
      ),
      ApiError,
      body,
    );
  }
});

test("every failure has its kind, and words for it", async () => {
  const fails =
    (status, body, headers = {}) =>
    (_, response) =>
      response.writeHead(status, headers).end(body);
  const error = (message, code) => JSON.stringify({ error: { message, code } });
  const cut = (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write('data: {"choices":[{"delta":{"content":"a"}}]}\n\n', () => response.destroy());
  };
  const cases = [
    [fails(401, error("no key")), "key", /^no key$/],
    [fails(429, error("full"), { "retry-after": "7" }), "busy", /full/],
    [fails(503, "<html>"), "busy", /503/],
    [fails(400, error("600 tokens, 512 fit", "context_length_exceeded")), "context", /600/],
    [fails(400, error("top_p?")), "refused", /top_p/],
    [fails(404, '{"error":"no such model"}'), "refused", /no such model/],
    [fails(400, '{"error":{"message":{"a":1}}}'), "refused", /400/],
    [fails(500, ""), "server", /500/],
    [fails(200, "{}", { "content-type": "application/json" }), "refused", /stream/],
    [stream("{"), "broken", /JSON/],
    [stream({ choices: [{ delta: { content: "a" } }] }), "broken", /ended/],
    [stream({ error: { message: "the runner died" } }), "server", /runner/],
    [cut, "broken", /lost/],
  ];
  for (const [answer, kind, message] of cases) {
    const thrown = await serving(answer, (api) => collect(api)).then(
      () => assert.fail(kind),
      (e) => e,
    );
    assert.ok(thrown instanceof ApiError, String(thrown));
    assert.equal(thrown.kind, kind);
    assert.match(thrown.message, message);
    if (thrown.status === 429) assert.equal(thrown.retryAfter, 7);
    for (const words of Object.values(describe(thrown))) assert.ok(words.length > 3);
  }
  const nobody = await collect(new Api({ base: "http://127.0.0.1:9/" })).then(
    () => assert.fail(),
    (e) => e,
  );
  assert.equal(nobody.kind, "unreachable");
  assert.match(describe(nobody).remedy, /pocketllama serve/);
  assert.equal(await new Api({ base: "http://127.0.0.1:9/" }).isUp(), false);
  assert.match(describe(new TypeError("bug")).cause, /bug/);
});

test("a signal ends the request at the server, before and in the answer", async () => {
  for (const early of [true, false]) {
    const controller = new AbortController();
    let closed;
    const gone = new Promise((resolve) => (closed = resolve));
    const answer = (request, response) => {
      response.on("close", closed);
      if (early) return controller.abort();
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write('data: {"choices":[{"delta":{"content":"a"}}]}\n\n');
    };
    await serving(answer, async (api) => {
      const asking = (async () => {
        for await (const part of api.answer({ model: { id: "m" }, asked: { messages: [] } }, controller.signal))
          if (part.text) controller.abort();
      })();
      await assert.rejects(asking, { name: "AbortError" });
      await gone;
    });
  }
});
