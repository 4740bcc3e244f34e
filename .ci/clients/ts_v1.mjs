// npm `@modelcontextprotocol/sdk` 1.32.2 against a running node, in the 2025-11-25 era.
//
// Usage: node ts_v1.mjs http://HOST:PORT/mcp
// (run from the folder whose node_modules holds the SDK: imports resolve beside this file)

import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const TOOLS = ["echo", "add", "time", "sleep", "hash"];
const TEXT = 'naïve "quoted" \\ text\n\u{1f980}';

/** Prints one line a check; the first mismatch ends the run. */
function check(label, found, wanted) {
  assert.deepEqual(found, wanted, `FAIL ${label}`);
  console.log(`ok   ${label}`);
}

/** True when the call fails, as a protocol error or as a result marked `isError`. */
async function refuses(client, name, args) {
  try {
    return (await client.callTool({ name, arguments: args })).isError === true;
  } catch (error) {
    if (typeof error.code === "number") return true;
    throw error;
  }
}

const transport = new StreamableHTTPClientTransport(new URL(process.argv[2]));
const client = new Client({ name: "ninefold-ci", version: "0.1.0" });
await client.connect(transport);
check("initialize negotiates 2025-11-25", transport.protocolVersion, "2025-11-25");
check("initialize mints a session id", Boolean(transport.sessionId), true);
check("ping is answered with {}", await client.ping(), {});

const listed = new Set((await client.listTools()).tools.map((tool) => tool.name));
check("tools/list names the built-in tools", TOOLS.filter((name) => !listed.has(name)), []);

const echo = await client.callTool({ name: "echo", arguments: { text: TEXT } });
check("echo is no error", echo.isError ?? false, false);
check("echo returns its text", echo.content[0].text, TEXT);

const total = await client.callTool({ name: "add", arguments: { a: 40, b: 2 } });
check("add is no error", total.isError ?? false, false);
check("add returns the sum", Number(total.content[0].text), 42);

check("add refuses a wrong type", await refuses(client, "add", { a: "x" }), true);
check("an unknown tool is refused", await refuses(client, "absent", {}), true);

await transport.terminateSession();
check("DELETE ends the session", transport.sessionId, undefined);
await client.close();
