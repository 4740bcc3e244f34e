"""PyPI `mcp` 1.30.0 against `ninefold serve --fixtures conformance` over the older transports: as a
child process, and over the pair of HTTP and SSE of 2024-11-05. It lists, calls, reads, gets a
prompt, receives progress, log messages and a change, and is asked.

Usage: python_v1_stdio.py PROGRAM http://HOST:PORT/sse
"""

import sys
from datetime import timedelta

import anyio
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client


def check(label, found, wanted):
    """Prints one line a check; the first mismatch ends the run."""
    if found != wanted:
        sys.exit(f"FAIL {label}: wanted {wanted!r}, found {found!r}")
    print(f"ok   {label}")


async def on_elicit(context, params):
    content = {"username": "ada", "email": "ada@example.com"}
    return types.ElicitResult(action="accept", content=content)


async def on_sample(context, params):
    answer = types.TextContent(type="text", text="Paris")
    return types.CreateMessageResult(role="assistant", content=answer, model="m")


async def exercise(how, streams):
    """Uses what the node offers over one channel."""
    progress, logs, messages = [], [], []

    async def on_progress(done, total, message):
        progress.append(done)

    async def on_log(params):
        logs.append(params.data)

    async def on_message(message):
        if isinstance(message, types.ServerNotification):
            messages.append(type(message.root).__name__)

    async with ClientSession(
        *streams,
        read_timeout_seconds=timedelta(seconds=20),
        elicitation_callback=on_elicit,
        sampling_callback=on_sample,
        logging_callback=on_log,
        message_handler=on_message,
    ) as session:

        async def text(tool, arguments=None, **more):
            return (await session.call_tool(tool, arguments or {}, **more)).content[0].text

        started = await session.initialize()
        check(f"{how}: initialize negotiates 2025-11-25", started.protocolVersion, "2025-11-25")
        await session.send_ping()
        listed = {tool.name for tool in (await session.list_tools()).tools}
        check(f"{how}: tools/list", "test_simple_text" in listed, True)
        found = await text("test_simple_text")
        check(f"{how}: tools/call", found, "This is a simple text response for testing.")
        read = await session.read_resource("test://template/7/data")
        check(f"{how}: resources/read", "Data for ID: 7" in read.contents[0].text, True)
        prompt = await session.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
        wanted = "Prompt with arguments: arg1='a', arg2='b'"
        check(f"{how}: prompts/get", prompt.messages[0].content.text, wanted)
        await text("test_tool_with_progress", progress_callback=on_progress)
        check(f"{how}: progress", progress, [0, 50, 100])
        await text("test_tool_with_logging")
        check(f"{how}: log messages", len(logs), 3)
        found = await text("test_elicitation", {"message": "Who are you?"})
        check(f"{how}: elicitation", '"username":"ada"' in found, True)
        found = await text("test_sampling", {"prompt": "The capital of France?"})
        check(f"{how}: sampling", found, "LLM response: Paris")
        await text("test_trigger_tool_change")
        with anyio.fail_after(10):
            while "ToolListChangedNotification" not in messages:
                await anyio.sleep(0.05)
        check(f"{how}: a change of the list of tools is told", True, True)


async def main(program, url):
    child = StdioServerParameters(
        command=program, args=["serve", "--stdio", "--fixtures", "conformance", "--log", "warn"]
    )
    async with stdio_client(child) as streams:
        await exercise("stdio", streams)
    async with sse_client(url) as streams:
        await exercise("2024-11-05", streams)


anyio.run(main, *sys.argv[1:])
