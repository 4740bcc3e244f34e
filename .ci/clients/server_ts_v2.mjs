// npm `@modelcontextprotocol/server` 2.4.0 as a server for our client.
//
// Usage: node server_ts_v2.mjs stdio|PORT

import { createServer } from "node:http";
import { Readable } from "node:stream";
import {
  McpServer,
  acceptedContent,
  createMcpHandler,
  fromJsonSchema,
  inputRequired,
} from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";

const object = (properties) =>
  fromJsonSchema({ type: "object", properties, required: Object.keys(properties) });
const text = (text) => ({ content: [{ type: "text", text }] });
const person = object({ name: { type: "string" } });

function build() {
  const server = new McpServer({ name: "typescript", version: "1.0.0" });
  const numbers = object({ a: { type: "number" }, b: { type: "number" } });
  server.registerTool("add", { inputSchema: numbers }, ({ a, b }) => text(`${a + b}`));
  server.registerTool("work", {}, async (ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (const progress of [1, 2, 3]) {
      const params = { progressToken, progress, total: 3 };
      await ctx.mcpReq.notify({ method: "notifications/progress", params });
    }
    return text("worked");
  });
  server.registerTool("ask", {}, (ctx) => {
    const answer = acceptedContent(ctx.mcpReq.inputResponses, "who", person);
    if (answer) return text(`Hello, ${answer.name}!`);
    const who = inputRequired.elicit({ message: "Who are you?", requestedSchema: person });
    return inputRequired({ inputRequests: { who } });
  });
  server.registerResource("hello", "test://hello", {}, ({ href }) => ({
    contents: [{ uri: href, text: "hello from TypeScript" }],
  }));
  server.registerPrompt("greet", { argsSchema: person }, ({ name }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Hello, ${name}!` } }],
  }));
  return server;
}

/** Carries one request of node to `handler` and its response back. */
async function carry(handler, incoming, outgoing) {
  const { method, headers, url } = incoming;
  const body = method === "POST" ? Readable.toWeb(incoming) : undefined;
  const init = { method, headers, body, duplex: "half" };
  const response = await handler.fetch(new Request(`http://${headers.host}${url}`, init));
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (response.body) Readable.fromWeb(response.body).pipe(outgoing);
  else outgoing.end();
}

if (process.argv[2] === "stdio") {
  serveStdio(build);
} else {
  const handler = createMcpHandler(build);
  const server = createServer((incoming, outgoing) => carry(handler, incoming, outgoing));
  server.listen(Number(process.argv[2]), "127.0.0.1");
}
