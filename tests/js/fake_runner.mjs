// Speaks the runner's protocol without a model, and misbehaves on demand: by $FAKE from the start, by the prompt later.

import { createInterface } from "node:readline";

const mode = process.env.FAKE ?? "";
const model = process.argv[process.argv.indexOf("-m") + 1];
const pulled = new Set();
const held = new Map(); // id → answer with what there is
const cancelled = [];

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const piece = (token, index, text) => send({ method: "$/progress", params: { token, value: { index, text } } });
const completed = (text, finish_reason, tokens) => ({
  text, finish_reason, usage: { prompt_tokens: 3, completion_tokens: tokens }, timings: { prompt_ms: 1, decode_ms: 2.5 }, model,
});
const later = (fn) => setImmediate(fn);

function complete(id, params, chat = false) {
  const [what, argument] = (chat ? params.messages.at(-1).content : params.prompt).split(":");
  const answer = (result) => send({ id, result: chat ? { ...result, message: { role: "assistant", content: result.text }, forgotten: 0 } : result });
  switch (what) {
    case "count": {
      const words = Array.from({ length: Number(argument) }, (_, i) => `word${i} `);
      if (params.stream) words.forEach((word, i) => piece(id, i, word));
      return answer(completed(words.join(""), "length", words.length));
    }
    case "params":
      return answer(completed(JSON.stringify(params), "stop", 1));
    case "argv":
      return answer(completed(JSON.stringify(process.argv.slice(2)), "stop", 1));
    case "hold":
      if (params.stream) piece(id, 0, "first ");
      held.set(id, () => answer(completed("first ", "cancelled", 1)));
      return;
    case "exit":
      piece(id, 0, "first ");
      process.stderr.write("something dreadful happened\n");
      return later(() => process.exit(3));
    case "kill":
      piece(id, 0, "first ");
      return later(() => process.kill(process.pid, "SIGKILL"));
    case "noise":
      process.stderr.write("x".repeat(2 ** 20));
      return answer(completed("quiet", "stop", 1));
    case "garbage":
      return void process.stdout.write("Segmentation fault\n");
    case "null":
      return send({ id: null, error: { code: -32700, message: "The message is not JSON." } });
    case "bytes": {
      // One byte a write, so that characters are cut.
      const bytes = Buffer.from(`${JSON.stringify({ jsonrpc: "2.0", id, result: completed(argument, "stop", 1) })}\n`);
      for (const byte of bytes) process.stdout.write(Buffer.of(byte));
      return;
    }
    case "busy":
      return send({ id, error: { code: -32070, message: "The queue is full.", data: { kind: "Busy", remedy: "Try later.", limit: 1 } } });
    default:
      return send({ id, error: { code: -32000, message: `no such prompt: ${what}` } });
  }
}

const methods = {
  initialize: (params) => ({ protocolVersion: mode === "future" ? 2 : 1, serverInfo: { name: "fake", version: "9" }, capabilities: {}, limits: { maxMessageBytes: 2 ** 20 }, echo: params }),
  "models/show": ({ model: name }, id) => (name.startsWith("hf:") && !pulled.has(name)
    ? void send({ id, error: { code: -32021, message: `no ${name} here` } }) : { name }),
  "models/pull": ({ model: name }, id) => {
    if (name === "hf:gone") return void send({ id, error: { code: -32030, message: "the hub is down" } });
    if (name === "hf:slow") return void held.set(id, () => send({ id, error: { code: -32800, message: "cancelled" } }));
    for (const done of [0, 50, 100]) send({ method: "$/progress", params: { token: id, value: { file: "a.gguf", done, total: 100 } } });
    pulled.add(name);
    return { model: name };
  },
  "models/list": () => ({ models: [{ name: model, license_name: "MIT" }] }),
  tokenize: ({ text, bos, special }) => ({
    tokens: [...(bos ? [1] : []), ...Array.from(special ? text.replace("<s>", "\x01") : text, (c) => c.codePointAt(0))], model,
  }),
  detokenize: ({ tokens }) => ({ text: String.fromCodePoint(...tokens), model }),
  embed: ({ input, pooling, normalize }) => ({ embedding: [normalize ? 1 : input.length, pooling === "mean" ? 2 : 0.5], usage: { prompt_tokens: 1 }, model }),
  status: () => ({ pid: process.pid, default_model: model, cancelled, held: held.size, offline: process.env.POCKETLLAMA_OFFLINE ?? null }),
  shutdown: () => null,
};

function receive({ id, method, params }) {
  if (method === "complete") return complete(id, params);
  if (method === "chat") return complete(id, params, true);
  if (method === "$/cancelRequest") {
    cancelled.push(params.id);
    held.get(params.id)?.();
    held.delete(params.id);
  } else if (method === "notifications/cancelled") {
    cancelled.push(params.requestId);
    held.delete(params.requestId);
  } else if (method === "exit") {
    if (mode !== "stubborn") process.exit(0);
  } else if (id !== undefined) {
    const result = methods[method](params ?? {}, id);
    if (result !== undefined) send({ id, result });
  }
}

if (mode === "stillborn") {
  process.stderr.write("ModuleNotFoundError: No module named 'fire'\n");
  process.exitCode = 1;
} else {
  if (mode === "stubborn") {
    process.on("SIGTERM", () => {});
    setInterval(() => {}, 1000);
  }
  createInterface({ input: process.stdin }).on("line", (line) => receive(JSON.parse(line)));
}
