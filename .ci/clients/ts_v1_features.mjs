// npm `@modelcontextprotocol/sdk` 1.32.2 against a node with the conformance fixtures: it reads, is
// asked, receives progress, log messages and a change, comes back to a stream, and cancels.
//
// Usage: node ts_v1_features.mjs http://HOST:PORT/mcp
// (run from the folder whose node_modules holds the SDK: imports resolve beside this file)

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
  ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";

/** Prints one line a check; the first mismatch ends the run. */
function check(label, found, wanted) {
  assert.deepEqual(found, wanted, `FAIL ${label}`);
  console.log(`ok   ${label}`);
}

const info = { name: "ninefold-ci", version: "0.1.0" };
const client = new Client(info, { capabilities: { elicitation: {}, sampling: {} } });
const [logs, progress] = [[], []];
let changes = 0;
client.setRequestHandler(ElicitRequestSchema, async () => ({
  action: "accept",
  content: { username: "ada", email: "ada@example.com" },
}));
client.setRequestHandler(CreateMessageRequestSchema, async () => ({
  role: "assistant",
  content: { type: "text", text: "Paris" },
  model: "m",
}));
client.setNotificationHandler(LoggingMessageNotificationSchema, async ({ params }) => {
  logs.push(params.data);
});
client.setNotificationHandler(ToolListChangedNotificationSchema, async () => {
  changes += 1;
});
const transport = new StreamableHTTPClientTransport(new URL(process.argv[2]));
await client.connect(transport);

const call = async (name, args = {}, options = {}) =>
  (await client.callTool({ name, arguments: args }, undefined, options)).content[0].text;

const read = await client.readResource({ uri: "test://static-text" });
const wanted = "This is the content of the static text resource.";
check("resources/read", read.contents[0].text, wanted);
await call("test_tool_with_progress", {}, { onprogress: (it) => progress.push(it.progress) });
check("progress", progress, [0, 50, 100]);
await call("test_tool_with_logging");
check("log messages", logs.length, 3);
const elicited = await call("test_elicitation", { message: "Who are you?" });
check("elicitation", elicited.includes('"username":"ada"'), true);
const sampled = await call("test_sampling", { prompt: "The capital of France?" });
check("sampling", sampled, "LLM response: Paris");
const polled = await call("test_reconnection");
check("a stream that ended early is come back to", polled, "Reconnection test completed successfully");

// The stream of the session is opened behind `connect`.
for (let tries = 0; changes === 0 && tries < 50; tries += 1) {
  await call("test_trigger_tool_change");
  await sleep(100);
}
check("a change of the list of tools is told", changes > 0, true);

const abort = new AbortController();
setTimeout(() => abort.abort(), 200);
const cancelled = call("slow_compute", { seconds: 60 }, { signal: abort.signal });
await assert.rejects(cancelled, "FAIL a call is cancelled");
console.log("ok   a call is cancelled");

await transport.terminateSession();
await client.close();
