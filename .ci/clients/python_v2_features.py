"""PyPI `mcp` 2.3.0 against a node with the conformance fixtures: in both eras it lists, reads, gets
prompts, completes, receives progress, log messages and a change, and is asked.

Usage: python_v2_features.py http://HOST:PORT/mcp|PROGRAM
PROGRAM is `ninefold`, which is then started as a child process.
"""

import sys

import anyio
import mcp.types as types
from mcp import Client, StdioServerParameters


def check(label, found, wanted):
    """Prints one line a check; the first mismatch ends the run."""
    if found != wanted:
        sys.exit(f"FAIL {label}: wanted {wanted!r}, found {found!r}")
    print(f"ok   {label}")


async def on_elicit(context, params):
    content = {"name": "Ada", "username": "ada", "email": "ada@example.com", "color": "red"}
    return types.ElicitResult(action="accept", content=content)


async def on_sample(context, params):
    answer = types.TextContent(type="text", text="Paris")
    return types.CreateMessageResult(role="assistant", content=answer, model="m")


async def exercise(url, mode, version):
    """Uses everything but the tools of a bare node over one connection in one era."""
    progress, logs, messages = [], [], []

    async def on_progress(done, total, message):
        progress.append(done)

    async def on_log(params):
        logs.append(params.data)

    async def on_message(message):
        messages.append(type(message).__name__)

    async with Client(
        url,
        mode=mode,
        read_timeout_seconds=10,
        elicitation_callback=on_elicit,
        sampling_callback=on_sample,
        logging_callback=on_log,
        message_handler=on_message,
    ) as client:

        async def text(tool, arguments=None, **more):
            return (await client.call_tool(tool, arguments or {}, **more)).content[0].text

        check(f"{mode}: negotiates {version}", client.protocol_version, version)
        listed = {str(it.uri) for it in (await client.list_resources()).resources}
        check(f"{mode}: resources/list", "test://static-text" in listed, True)
        listed = [it.uri_template for it in (await client.list_resource_templates()).resource_templates]
        check(f"{mode}: resources/templates/list", listed, ["test://template/{id}/data"])
        read = await client.read_resource("test://template/7/data")
        check(f"{mode}: resources/read", "Data for ID: 7" in read.contents[0].text, True)
        prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
        wanted = "Prompt with arguments: arg1='a', arg2='b'"
        check(f"{mode}: prompts/get", prompt.messages[0].content.text, wanted)
        prompt = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
        found = await client.complete(prompt, {"name": "arg1", "value": "par"})
        check(f"{mode}: completion", found.completion.values, ["paris", "park", "party"])

        await text("test_tool_with_progress", progress_callback=on_progress)
        check(f"{mode}: progress", progress, [0, 50, 100])
        found = await text("test_elicitation", {"message": "Who are you?"})
        check(f"{mode}: elicitation", '"username":"ada"' in found, True)
        found = await text("test_input_required_result_multi_round")
        check(f"{mode}: two questions in a row", found, "Ada likes red")
        found = await text("test_sampling", {"prompt": "The capital of France?"})
        check(f"{mode}: sampling", found, "LLM response: Paris")
        if mode == "legacy":
            await text("test_tool_with_logging")
            check(f"{mode}: log messages", len(logs), 3)
            await text("test_trigger_tool_change")
            with anyio.fail_after(5):
                while "ToolListChangedNotification" not in messages:
                    await anyio.sleep(0.05)
            check(f"{mode}: a change of the list of tools is told", True, True)


def server(target):
    """What the client connects to: a URL, or a child process."""
    if "://" in target:
        return target
    flags = ["serve", "--stdio", "--fixtures", "conformance", "--log", "warn"]
    return StdioServerParameters(command=target, args=flags)


async def main(target):
    await exercise(server(target), "auto", "2026-07-28")
    await exercise(server(target), "legacy", "2025-11-25")


anyio.run(main, sys.argv[1])
