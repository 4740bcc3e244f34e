// npm `@modelcontextprotocol/sdk` 1.32.2 against a node with the conformance fixtures: the seven
// steps of `steps.py`; besides, it receives log messages, comes back to a stream, and cancels.
//
// Usage: node ts_v1_features.mjs http://HOST:PORT/mcp
// (run from the folder whose node_modules holds the SDK: imports resolve beside this file)

import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
  ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { INFO, PERSON, basics, check, until } from "./steps.mjs";

const client = new Client(INFO, { capabilities: { elicitation: {}, sampling: {} } });
const [logs, progress] = [[], []];
let changes = 0;
client.setRequestHandler(ElicitRequestSchema, async () => ({
  action: "accept",
  content: PERSON,
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

await basics("legacy", client, call);
await call("test_tool_with_progress", {}, { onprogress: (it) => progress.push(it.progress) });
check("legacy: progress", progress, [0, 50, 100]);
await call("test_tool_with_logging");
check("legacy: log messages", logs.length, 3);
const elicited = await call("test_elicitation", { message: "Who are you?" });
check("legacy: elicitation", elicited.includes('"username":"ada"'));
const sampled = await call("test_sampling", { prompt: "The capital of France?" });
check("legacy: sampling", sampled, "LLM response: Paris");
const polled = await call("test_reconnection");
check("legacy: a stream that ended early is come back to", polled, "Reconnection test completed successfully");

// The stream of the session is opened behind `connect`.
await until(() => changes > 0, () => call("test_trigger_tool_change"));
check("legacy: list change", changes > 0);

const abort = new AbortController();
setTimeout(() => abort.abort(), 200);
const cancelled = call("slow_compute", { seconds: 60 }, { signal: abort.signal });
await assert.rejects(cancelled, "FAIL a call is cancelled");
console.log("ok   legacy: a call is cancelled");

await transport.terminateSession();
await client.close();
