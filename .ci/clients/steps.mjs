// What the scripts for node say: one line a step, and the first mismatch ends the run. The twin of
// `steps.py`, which tells what becomes of the lines.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

export const STATIC_TEXT = "This is the content of the static text resource.";
export const PROMPT = { name: "test_prompt_with_arguments", arguments: { arg1: "a", arg2: "b" } };
export const PROMPT_TEXT = "Prompt with arguments: arg1='a', arg2='b'";
export const PERSON = { username: "ada", email: "ada@example.com" };
export const INFO = { name: "ninefold-ci", version: "0.1.0" };

/** The step was done, and `found` is what was wanted. */
export function check(label, found, wanted = true) {
  assert.deepEqual(found, wanted, `FAIL ${label}`);
  console.log(`ok   ${label}`);
}

/** Repeats `attempt` until `condition` holds. */
export async function until(condition, attempt = async () => {}) {
  for (let tries = 0; !condition(); tries += 1) {
    assert(tries < 200, "FAIL nothing comes");
    await attempt();
    await sleep(100);
  }
}

/** The steps that need no notification, over a connected client. */
export async function basics(era, client, call) {
  const listed = (await client.listTools()).tools.map((tool) => tool.name);
  check(`${era}: tools/list`, listed.includes("test_simple_text"));
  const text = await call("test_simple_text");
  check(`${era}: tools/call`, text, "This is a simple text response for testing.");
  const read = await client.readResource({ uri: "test://static-text" });
  check(`${era}: resources/read`, read.contents[0].text, STATIC_TEXT);
  const prompt = await client.getPrompt(PROMPT);
  check(`${era}: prompts/get`, prompt.messages[0].content.text, PROMPT_TEXT);
}
