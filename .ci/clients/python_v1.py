"""PyPI `mcp` 1.30.0 against a running node: the 2025-11-25 handshake, its GET and its DELETE.

Usage: python_v1.py http://HOST:PORT/mcp
"""

import sys
from datetime import timedelta

import anyio
from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import EmptyResult

TOOLS = {"echo", "add", "time", "sleep", "hash"}
TEXT = 'naïve "quoted" \\ text\n\U0001f980'


def check(label, found, wanted):
    """Prints one line a check; the first mismatch ends the run."""
    if found != wanted:
        sys.exit(f"FAIL {label}: wanted {wanted!r}, found {found!r}")
    print(f"ok   {label}")


async def exercise(session, session_id):
    """Lists the tools and calls `echo` and `add` in one session."""
    started = await session.initialize()
    check("initialize negotiates 2025-11-25", started.protocolVersion, "2025-11-25")
    check("initialize mints a session id", bool(session_id()), True)
    check("ping is answered with {}", type(await session.send_ping()), EmptyResult)

    listed = {tool.name for tool in (await session.list_tools()).tools}
    check("tools/list names the built-in tools", TOOLS - listed, set())

    echo = await session.call_tool("echo", {"text": TEXT})
    check("echo is no error", bool(echo.isError), False)
    check("echo returns its text", echo.content[0].text, TEXT)

    total = await session.call_tool("add", {"a": 40, "b": 2})
    check("add is no error", bool(total.isError), False)
    check("add returns the sum", float(total.content[0].text), 42.0)

    check("add refuses a wrong type", await refuses(session, "add", {"a": "x"}), True)
    check("an unknown tool is refused", await refuses(session, "absent", {}), True)


async def refuses(session, tool, arguments):
    """True when the call fails, as a protocol error or as a result marked `isError`."""
    try:
        return bool((await session.call_tool(tool, arguments)).isError)
    except McpError:
        return True


async def main(url):
    async with streamable_http_client(url) as (read, write, session_id):
        timeout = timedelta(seconds=10)
        async with ClientSession(read, write, read_timeout_seconds=timeout) as session:
            await exercise(session, session_id)


anyio.run(main, sys.argv[1])
