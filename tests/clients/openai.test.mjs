// OpenAI's own client for Node against a server at $POCKETLLAMA_URL: started by test_node.py.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.env.POCKETLLAMA_URL}/v1`, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Once upon a time" }];
const schema = { type: "object", properties: { who: { enum: ["king", "wolf"] } }, required: ["who"], additionalProperties: false };

test("models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.deepEqual(ids, ["tales"]);
});

test("completions and chat, whole and streamed", async () => {
  const settings = { model: "tales", messages, seed: 3, max_tokens: 16 };
  const whole = await client.chat.completions.create(settings);
  let text = "";
  let usage;
  for await (const event of await client.chat.completions.create({ ...settings, stream: true, stream_options: { include_usage: true } })) {
    text += event.choices[0]?.delta.content ?? "";
    usage ??= event.usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.completion_tokens, 16);
  const plain = await client.completions.create({ model: "tales", prompt: "Once", max_tokens: 4, n: 2 });
  assert.equal(plain.choices.length, 2);
});

test("a stream that is left", async () => {
  const stream = await client.chat.completions.create({
    model: "tales", messages, n: 64, stream: true, max_tokens: 400, logit_bias: { 2: -100 },
  });
  for await (const event of stream) {
    if (event.choices[0].delta.content) break;
  }
  assert.ok((await client.completions.create({ model: "tales", prompt: "Once", max_tokens: 1 })).choices);
});

test("schemas and tools", async () => {
  const format = { type: "json_schema", json_schema: { name: "figure", schema, strict: true } };
  const shaped = await client.chat.completions.create({ model: "tales", messages, response_format: format, seed: 1 });
  assert.match(JSON.parse(shaped.choices[0].message.content).who, /^(king|wolf)$/);
  const tools = [{ type: "function", function: { name: "tell", parameters: schema } }];
  const settings = { model: "tales", messages, tools, tool_choice: "required", parallel_tool_calls: false, seed: 1 };
  const called = await client.chat.completions.create(settings);
  const [call] = called.choices[0].message.tool_calls;
  assert.equal(call.function.name, "tell");
  const streamed = await client.chat.completions.stream({ ...settings }).finalChatCompletion();
  assert.equal(streamed.choices[0].message.tool_calls[0].function.arguments, call.function.arguments);
});

test("embeddings and errors", async () => {
  const { data } = await client.embeddings.create({ model: "tales", input: ["a king", "a queen"] });
  assert.ok(Math.abs(Math.hypot(...data[0].embedding) - 1) < 1e-5);
  await assert.rejects(client.completions.create({ model: "gpt-4", prompt: "x" }), OpenAI.NotFoundError);
  await assert.rejects(client.completions.create({ model: "tales", prompt: "word ".repeat(2000) }), OpenAI.BadRequestError);
});
