// Drives the gateway with the official Anthropic SDK for TypeScript, as an agent would.
//
// The gateway is SIGNALBOX_BIN; a real Ollama is used when SIGNALBOX_TEST_OLLAMA_URL names one. The targets are the built-in
// echo, that Ollama, and a scripted OpenAI-format server that answers by the model's name.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";

const ollamaURL = process.env.SIGNALBOX_TEST_OLLAMA_URL;
const required = process.env.SIGNALBOX_REQUIRE_REAL === "1";
const noOllama = ollamaURL || required ? false : "skipped: no real Ollama (tests/with-ollama.sh starts one)";

let dir, gateway, base, upstream, played;
const calls = new Map(); // requests the scripted server saw, by model

before(async () => {
  assert.ok(process.env.SIGNALBOX_BIN, "SIGNALBOX_BIN names the gateway");
  if (required) assert.ok(ollamaURL, "SIGNALBOX_TEST_OLLAMA_URL names a real Ollama");
  dir = await mkdtemp(join(tmpdir(), "signalbox-sdk-"));
  upstream = createServer(scripted).listen(0, "127.0.0.1");
  await once(upstream, "listening");
  let config = `providers:\n  scripted: {kind: openai, base_url: "http://127.0.0.1:${upstream.address().port}/v1", api_key: sk-of-the-gateway}\n`;
  played = createServer(play).listen(0, "127.0.0.1");
  await once(played, "listening");
  const kinds = { openai: "openai, profile: vllm", openrouter: "openrouter", "openai-responses": "openai-responses", gemini: "gemini", native: "ollama" };
  for (const [name, kind] of Object.entries(kinds)) {
    config += `  ${name}: {kind: ${kind}, base_url: "http://127.0.0.1:${played.address().port}", api_key: sk-of-the-gateway}\n`;
  }
  if (ollamaURL) config += `  ollama: {kind: ollama, base_url: "${ollamaURL}", num_ctx: 2048}\n`;
  const file = join(dir, "config.yaml");
  await writeFile(file, config, { mode: 0o600 });
  gateway = spawn(process.env.SIGNALBOX_BIN, ["serve", "--config", file, "--port", "0", "--json"], {
    cwd: dir,
    env: { ...process.env, HOME: dir, SIGNALBOX_STATE_DIR: join(dir, "state") },
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [line] = await once(createInterface({ input: gateway.stdout }), "line", { signal: AbortSignal.timeout(20_000) });
  base = JSON.parse(line).url;
});

after(async () => {
  upstream?.close();
  upstream?.closeAllConnections();
  played?.close();
  played?.closeAllConnections();
  if (gateway?.exitCode === null) {
    const ended = once(gateway, "exit");
    gateway.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null], "the gateway ends with 0 on SIGTERM");
  }
  if (dir) await rm(dir, { recursive: true, force: true });
});

function scripted(request, response) {
  if (request.url === "/v1/models") {
    response.end(JSON.stringify({ object: "list", data: [{ id: "plain", object: "model", created: 1700000000 }] }));
    return;
  }
  let body = "";
  request.setEncoding("utf8").on("data", (piece) => (body += piece)).on("end", () => {
    const q = JSON.parse(body);
    calls.set(q.model, (calls.get(q.model) ?? 0) + 1);
    const refuse = (status, headers, message) => {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(JSON.stringify({ error: { message, type: "some_error" } }));
    };
    if (request.headers.authorization !== "Bearer sk-of-the-gateway") return refuse(401, {}, "not the gateway's key");
    if (q.model === "busy-once" && calls.get(q.model) === 1) return refuse(429, { "retry-after": "1" }, "slow down");
    if (q.model === "missing") return refuse(404, {}, "The model missing does not exist");
    const calling = q.model === "tool" && q.messages.at(-1).role !== "tool";
    const call = { index: 0, id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Łódź"}' } };
    const message = calling ? { role: "assistant", content: null, tool_calls: [call] } : { role: "assistant", content: "one two" };
    const finish_reason = calling ? "tool_calls" : "stop";
    const usage = { prompt_tokens: 11, completion_tokens: 2, total_tokens: 13 };
    if (!q.stream) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ id: "c1", model: q.model, choices: [{ index: 0, message, finish_reason }], usage }));
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const send = (choices, more) => response.write(`data: ${JSON.stringify({ id: "c1", model: q.model, choices, ...more })}\n\n`);
    if (calling) send([{ index: 0, delta: message, finish_reason: null }]);
    else for (const content of ["one ", "two"]) send([{ index: 0, delta: { content }, finish_reason: null }]);
    if (q.model === "cut") {
      setImmediate(() => response.destroy());
      return;
    }
    send([{ index: 0, delta: {}, finish_reason }]);
    send([], { usage });
    response.end("data: [DONE]\n\n");
  });
}

// The files of tests/answers, and a server of every dialect that plays the one which the model names.
const answers = new URL("../answers/", import.meta.url);
const answer = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, answers), "utf8"));

function play(request, response) {
  let body = "";
  request.setEncoding("utf8").on("data", (piece) => (body += piece)).on("end", () => {
    const q = body ? JSON.parse(body) : {};
    if (request.url.endsWith("/api/show")) {
      return response.end(JSON.stringify({ model_info: { "general.architecture": "x", "x.context_length": 131072 }, capabilities: ["completion", "tools", "thinking"] }));
    }
    let name = q.model, streamed = q.stream === true;
    const path = request.url.split("?")[0].split("/").at(-1); // Gemini names model and method in the path
    if (path.includes(":")) [name, streamed] = [path.split(":")[0], path.endsWith(":streamGenerateContent")];
    let a;
    try {
      a = answer(name);
    } catch {
      response.writeHead(404);
      return response.end();
    }
    if (!streamed) {
      response.writeHead(200, { "content-type": "application/json" });
      return response.end(JSON.stringify(a.whole));
    }
    response.writeHead(200, { "content-type": a.ndjson ? "application/x-ndjson" : "text/event-stream" });
    for (const item of a.sse ?? []) {
      if (typeof item === "string" && item.startsWith(":")) response.write(item);
      else response.write(`data: ${typeof item === "string" ? item : JSON.stringify(item)}\n\n`);
    }
    for (const item of a.ndjson ?? []) response.write(JSON.stringify(item) + "\n");
    response.end();
  });
}

const at = (target, options = {}) =>
  new Anthropic({ baseURL: target ? `${base}/v1/${target}` : base, apiKey: "sk-of-the-caller", maxRetries: 0, timeout: 60_000, ...options });
const ask = (content, more = {}) => ({ model: "the-callers-model", max_tokens: 300, messages: [{ role: "user", content }], ...more });
const textOf = (message) => message.content.map((block) => block.text ?? "").join("");
const wanted = (target) => (target.startsWith("scripted/") ? "one two" : "say this again");

const targets = [
  { name: "echo", plain: "signalbox/echo", tool: "signalbox/echo", skip: false },
  { name: "scripted", plain: "scripted/plain", tool: "scripted/tool", skip: false },
  { name: "ollama", plain: "ollama/echo", tool: "ollama/agent", skip: noOllama },
];

for (const target of targets) {
  const { skip } = target;
  test(`whole answer: ${target.name}`, { skip }, async () => {
    const message = await at(target.plain).messages.create(ask("say this again"));
    assert.equal(textOf(message).trim(), wanted(target.plain));
    assert.equal(message.stop_reason, "end_turn");
    assert.match(message.id, /^msg_/);
    assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
  });

  test(`streamed answer: ${target.name}`, { skip }, async () => {
    let pieces = 0;
    const stream = at(target.plain).messages.stream(ask("say this again")).on("text", () => pieces++);
    const message = await stream.finalMessage();
    assert.equal(textOf(message).trim(), wanted(target.plain));
    assert.ok(pieces >= 2, `${pieces} pieces`);
    assert.equal(message.stop_reason, "end_turn");
    assert.ok(message.usage.output_tokens > 0);
  });

  test(`streamed tool loop: ${target.name}`, { skip }, async () => {
    const client = at(target.tool);
    const tools = [{ name: "weather", description: "The weather of a city.", input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } }];
    const q = ask("use weather", { tools });
    const first = await client.messages.stream(q).finalMessage();
    assert.equal(first.stop_reason, "tool_use", JSON.stringify(first));
    const uses = first.content.filter((block) => block.type === "tool_use");
    assert.equal(uses.length, 1);
    assert.equal(uses[0].name, "weather");
    assert.equal(typeof uses[0].input.city, "string");
    q.messages.push({ role: "assistant", content: first.content }, { role: "user", content: [{ type: "tool_result", tool_use_id: uses[0].id, content: "sunny, 21 degrees" }] });
    const second = await client.messages.stream(q).finalMessage();
    assert.equal(second.stop_reason, "end_turn");
    assert.ok(textOf(second).includes(target.name === "scripted" ? "one two" : "sunny, 21 degrees"), textOf(second));
  });

  test(`token count: ${target.name}`, { skip }, async () => {
    const { input_tokens } = await at(target.plain).messages.countTokens({ model: "the-callers-model", messages: [{ role: "user", content: "hello there ".repeat(100) }] });
    assert.ok(input_tokens >= 100 && input_tokens <= 600, String(input_tokens));
  });
}

for (const streamed of [false, true]) {
  const how = streamed ? "streamed" : "whole";
  const send = async (client, q) => {
    if (!streamed) return client.messages.create(q);
    return client.messages.stream(q).finalMessage();
  };
  test(`an unknown provider is a typed 404: ${how}`, async () => {
    await assert.rejects(send(at("nobody/model"), ask("x")), (e) => {
      assert.ok(e instanceof Anthropic.NotFoundError, String(e));
      assert.equal(e.error.error.type, "not_found_error");
      assert.match(e.message, /nobody/);
      assert.ok(e.requestID);
      return true;
    });
  });
  test(`a wrong request is a typed 400 that names the field: ${how}`, async () => {
    await assert.rejects(send(at("signalbox/echo"), { ...ask("x"), messages: [] }), (e) => {
      assert.ok(e instanceof Anthropic.BadRequestError, String(e));
      assert.equal(e.error.error.type, "invalid_request_error");
      assert.match(e.message, /messages/);
      return true;
    });
  });
}

test("a stream that breaks is an error, never a short answer", async () => {
  await assert.rejects(at("scripted/cut").messages.stream(ask("x")).finalMessage());
});

test("the SDK tries again after a 429 of the upstream", async () => {
  const message = await at("scripted/busy-once", { maxRetries: 2 }).messages.create(ask("x"));
  assert.equal(textOf(message), "one two");
  assert.equal(calls.get("busy-once"), 2);
});

test("models are listed and looked up", async () => {
  const client = at("");
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  for (const id of ["signalbox/echo", "scripted/plain"]) {
    assert.ok(ids.includes(id), `${id} in ${ids}`);
    assert.equal((await client.models.retrieve(id)).id, id);
  }
  await assert.rejects(client.models.retrieve("scripted/nothing"), Anthropic.NotFoundError);
});

// What the accumulator makes of a stream is what the whole answer says, and both are what the upstream said.
for (const file of readdirSync(answers).filter((name) => name.endsWith(".json"))) {
  const name = file.slice(0, -".json".length);
  test(`streamed is whole: ${name}`, async () => {
    const { provider, expect } = answer(name);
    const tools = ["read", "now"].map((tool) => ({ name: tool, input_schema: { type: "object" } }));
    const q = ask("hello", { tools, max_tokens: 2000, thinking: { type: "enabled", budget_tokens: 1024 } });
    const client = at(`${provider}/${name}`);
    const whole = await client.messages.create(q);
    const streamed = await client.messages.stream(q).finalMessage();
    for (const message of [whole, streamed]) {
      assert.deepEqual(seen(message), expect.content);
      assert.equal(message.stop_reason, expect.stop_reason);
      assert.equal(message.usage.output_tokens, 30);
    }
    assert.equal(streamed.usage.input_tokens, whole.usage.input_tokens);
    assert.equal(streamed.usage.cache_read_input_tokens, whole.usage.cache_read_input_tokens);
  });
}

// seen is a message's content without what may differ: ids, signatures, and blocks that only carry state.
function seen(message) {
  return message.content
    .filter((block) => block.type !== "thinking" || block.thinking !== "")
    .map((block) => {
      if (block.type === "thinking") return { type: "thinking", thinking: block.thinking };
      if (block.type === "text") return { type: "text", text: block.text };
      assert.equal(block.type, "tool_use");
      assert.ok(block.id);
      return { type: "tool_use", name: block.name, input: block.input };
    });
}
