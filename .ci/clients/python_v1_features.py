"""PyPI `mcp` 1.30.0 against a node with the conformance fixtures: the seven steps of `steps.py`.

Usage: python_v1_features.py http://HOST:PORT/mcp
"""

import sys
from datetime import timedelta

import anyio
import mcp.types as types
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from steps import PERSON, PROMPT, PROMPT_TEXT, STATIC_TEXT, check

changes, progress = [], []


async def on_elicit(context, params):
    return types.ElicitResult(action="accept", content=PERSON)


async def on_message(message):
    if isinstance(message, types.ServerNotification):
        if isinstance(message.root, types.ToolListChangedNotification):
            changes.append(message)


async def on_progress(done, total, message):
    progress.append(done)


async def exercise(session):
    started = await session.initialize()
    check("legacy: negotiates 2025-11-25", started.protocolVersion, "2025-11-25")

    async def text(tool, arguments=None, **more):
        return (await session.call_tool(tool, arguments or {}, **more)).content[0].text

    listed = {tool.name for tool in (await session.list_tools()).tools}
    check("legacy: tools/list", "test_simple_text" in listed)
    found = await text("test_simple_text")
    check("legacy: tools/call", found, "This is a simple text response for testing.")
    read = await session.read_resource("test://static-text")
    check("legacy: resources/read", read.contents[0].text, STATIC_TEXT)
    prompt = await session.get_prompt(*PROMPT)
    check("legacy: prompts/get", prompt.messages[0].content.text, PROMPT_TEXT)
    await text("test_tool_with_progress", progress_callback=on_progress)
    check("legacy: progress", progress, [0, 50, 100])
    # The stream of the session is opened behind `initialize`.
    with anyio.fail_after(20):
        while not changes:
            await text("test_trigger_tool_change")
            await anyio.sleep(0.1)
    check("legacy: list change", bool(changes))
    found = await text("test_elicitation", {"message": "Who are you?"})
    check("legacy: elicitation", '"username":"ada"' in found)


async def main(url):
    async with streamable_http_client(url) as (read, write, _):
        async with ClientSession(
            read,
            write,
            read_timeout_seconds=timedelta(seconds=20),
            elicitation_callback=on_elicit,
            message_handler=on_message,
        ) as session:
            await exercise(session)


anyio.run(main, sys.argv[1])
