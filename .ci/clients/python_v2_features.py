"""PyPI `mcp` 2.3.0 against a node with the conformance fixtures: in both eras the seven steps of
`steps.py`, and completion, two questions in a row, sampling and log messages besides.

Usage: python_v2_features.py http://HOST:PORT/mcp|PROGRAM
PROGRAM is `ninefold`, which is then started as a child process.
"""

import sys

import anyio
import mcp.types as types
from mcp import Client, StdioServerParameters
from steps import PERSON, PROMPT, PROMPT_TEXT, STATIC_TEXT, check


async def on_elicit(context, params):
    content = PERSON | {"name": "Ada", "color": "red"}
    return types.ElicitResult(action="accept", content=content)


async def on_sample(context, params):
    answer = types.TextContent(type="text", text="Paris")
    return types.CreateMessageResult(role="assistant", content=answer, model="m")


class Heard:
    """What one client is told."""

    def __init__(self):
        self.progress, self.logs, self.messages = [], [], []

    async def on_progress(self, done, total, message):
        self.progress.append(done)

    async def on_log(self, params):
        self.logs.append(params.data)

    async def on_message(self, message):
        self.messages.append(type(message).__name__)

    def change(self):
        return "ToolListChangedNotification" in self.messages


async def change(client, era, heard, text):
    """A change of the list of tools is told: on a subscription, or in the session."""
    if era == "modern":
        async with client.listen(tools_list_changed=True) as subscription:
            await text("test_trigger_tool_change")
            with anyio.fail_after(20):
                event = await anext(aiter(subscription))
            check(f"{era}: list change", "Tool" in type(event).__name__)
    else:
        await text("test_trigger_tool_change")
        with anyio.fail_after(20):
            while not heard.change():
                await anyio.sleep(0.05)
        check(f"{era}: list change", heard.change())


async def steps(client, era, heard, text):
    listed = {tool.name for tool in (await client.list_tools()).tools}
    check(f"{era}: tools/list", "test_simple_text" in listed)
    found = await text("test_simple_text")
    check(f"{era}: tools/call", found, "This is a simple text response for testing.")
    read = await client.read_resource("test://static-text")
    check(f"{era}: resources/read", read.contents[0].text, STATIC_TEXT)
    prompt = await client.get_prompt(*PROMPT)
    check(f"{era}: prompts/get", prompt.messages[0].content.text, PROMPT_TEXT)
    await text("test_tool_with_progress", progress_callback=heard.on_progress)
    check(f"{era}: progress", heard.progress, [0, 50, 100])
    await change(client, era, heard, text)
    found = await text("test_elicitation", {"message": "Who are you?"})
    check(f"{era}: elicitation", '"username":"ada"' in found)


async def more(client, era, heard, text):
    listed = {str(it.uri) for it in (await client.list_resources()).resources}
    check(f"{era}: resources/list", "test://static-text" in listed)
    listed = [it.uri_template for it in (await client.list_resource_templates()).resource_templates]
    check(f"{era}: resources/templates/list", listed, ["test://template/{id}/data"])
    prompt = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
    found = await client.complete(prompt, {"name": "arg1", "value": "par"})
    check(f"{era}: completion", found.completion.values, ["paris", "park", "party"])
    found = await text("test_input_required_result_multi_round")
    check(f"{era}: two questions in a row", found, "Ada likes red")
    found = await text("test_sampling", {"prompt": "The capital of France?"})
    check(f"{era}: sampling", found, "LLM response: Paris")
    if era == "legacy":
        await text("test_tool_with_logging")
        check(f"{era}: log messages", len(heard.logs), 3)


async def exercise(url, mode, era, version):
    heard = Heard()
    async with Client(
        url,
        mode=mode,
        read_timeout_seconds=20,
        elicitation_callback=on_elicit,
        sampling_callback=on_sample,
        logging_callback=heard.on_log,
        message_handler=heard.on_message,
    ) as client:

        async def text(tool, arguments=None, **more):
            return (await client.call_tool(tool, arguments or {}, **more)).content[0].text

        check(f"{era}: negotiates {version}", client.protocol_version, version)
        await steps(client, era, heard, text)
        await more(client, era, heard, text)


def server(target):
    """What the client connects to: a URL, or a child process."""
    if "://" in target:
        return target
    flags = ["serve", "--stdio", "--fixtures", "conformance", "--log", "warn"]
    return StdioServerParameters(command=target, args=flags)


async def main(target):
    await exercise(server(target), "auto", "modern", "2026-07-28")
    await exercise(server(target), "legacy", "legacy", "2025-11-25")


anyio.run(main, sys.argv[1])
