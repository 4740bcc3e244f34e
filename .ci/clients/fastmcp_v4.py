"""PyPI `fastmcp` 4.1.2 against a node with the conformance fixtures: in both eras the seven steps
of `steps.py`.

Usage: fastmcp_v4.py http://HOST:PORT/mcp
"""

import sys

import anyio
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from steps import PERSON, PROMPT, PROMPT_TEXT, STATIC_TEXT, check, lacks


async def on_elicit(message, response_type, params, context):
    return ElicitResult(action="accept", content=PERSON)


async def exercise(url, mode, era, version):
    progress, messages = [], []

    async def on_progress(done, total, message):
        progress.append(done)

    async def on_message(message):
        messages.append(type(getattr(message, "root", message)).__name__)

    def told():
        return "ToolListChangedNotification" in messages

    async with Client(
        url, mode=mode, timeout=20, elicitation_handler=on_elicit, message_handler=on_message
    ) as client:

        async def text(tool, arguments=None, **more):
            return (await client.call_tool(tool, arguments or {}, **more)).content[0].text

        check(f"{era}: negotiates {version}", client.protocol_version, version)
        listed = {tool.name for tool in await client.list_tools()}
        check(f"{era}: tools/list", "test_simple_text" in listed)
        found = await text("test_simple_text")
        check(f"{era}: tools/call", found, "This is a simple text response for testing.")
        read = await client.read_resource("test://static-text")
        check(f"{era}: resources/read", read[0].text, STATIC_TEXT)
        prompt = await client.get_prompt(*PROMPT)
        check(f"{era}: prompts/get", prompt.messages[0].content.text, PROMPT_TEXT)
        await text("test_tool_with_progress", progress_handler=on_progress)
        check(f"{era}: progress", progress, [0, 50, 100])
        if era == "legacy":
            with anyio.fail_after(20):
                while not told():
                    await text("test_trigger_tool_change")
                    await anyio.sleep(0.1)
            check(f"{era}: list change", told())
        else:
            check(f"{era}: has no call to listen", hasattr(client, "listen"), False)
            lacks(f"{era}: list change", "its client has no call for subscriptions/listen")
        found = await text("test_elicitation", {"message": "Who are you?"})
        check(f"{era}: elicitation", '"username":"ada"' in found)


async def main(url):
    await exercise(url, "auto", "modern", "2026-07-28")
    await exercise(url, "legacy", "legacy", "2025-11-25")


anyio.run(main, sys.argv[1])
