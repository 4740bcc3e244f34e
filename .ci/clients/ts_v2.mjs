// npm `@modelcontextprotocol/client` 2.4.0 against a node with the conformance fixtures: in both
// eras the seven steps of `steps.py`.
//
// Usage: node ts_v2.mjs http://HOST:PORT/mcp
// (run from beside the folder whose node_modules holds the SDK: imports resolve beside this file)

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { INFO, PERSON, basics, check, until } from "./steps.mjs";

async function exercise(url, mode, era, version) {
  const progress = [];
  let changes = 0;
  const client = new Client(INFO, {
    capabilities: { elicitation: { form: {} } },
    versionNegotiation: { mode },
    // Without a pause of its own it would wait for the changes to stop.
    listChanged: { tools: { debounceMs: 0, onChanged: () => (changes += 1) } },
  });
  client.setRequestHandler("elicitation/create", async () => ({
    action: "accept",
    content: PERSON,
  }));
  const transport = new StreamableHTTPClientTransport(new URL(url));
  await client.connect(transport);
  check(`${era}: negotiates ${version}`, client.getNegotiatedProtocolVersion(), version);
  const call = async (name, args = {}, options = {}) =>
    (await client.callTool({ name, arguments: args }, options)).content[0].text;

  await basics(era, client, call);
  const onprogress = (it) => progress.push(it.progress);
  await call("test_tool_with_progress", {}, { onprogress });
  check(`${era}: progress`, progress, [0, 50, 100]);
  await until(() => changes > 0, () => call("test_trigger_tool_change"));
  check(`${era}: list change`, changes > 0);
  const elicited = await call("test_elicitation", { message: "Who are you?" });
  check(`${era}: elicitation`, elicited.includes('"username":"ada"'));
  await client.close();
}

await exercise(process.argv[2], "auto", "modern", "2026-07-28");
await exercise(process.argv[2], "legacy", "legacy", "2025-11-25");
