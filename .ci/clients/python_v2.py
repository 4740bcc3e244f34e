"""PyPI `mcp` 2.3.0 against a running node: the modern era first, then the legacy handshake.

Usage: python_v2.py http://HOST:PORT/mcp
"""

import sys

import anyio
from mcp import Client, MCPError

TOOLS = {"echo", "add", "time", "sleep", "hash"}
TEXT = 'naïve "quoted" \\ text\n\U0001f980'


def check(label, found, wanted):
    """Prints one line a check; the first mismatch ends the run."""
    if found != wanted:
        sys.exit(f"FAIL {label}: wanted {wanted!r}, found {found!r}")
    print(f"ok   {label}")


async def exercise(url, mode, version):
    """Lists the tools and calls `echo` and `add` over one connection in one era."""
    async with Client(url, mode=mode, read_timeout_seconds=10) as client:
        check(f"{mode}: negotiates {version}", client.protocol_version, version)
        listed = {tool.name for tool in (await client.list_tools()).tools}
        check(f"{mode}: tools/list names the built-in tools", TOOLS - listed, set())

        echo = await client.call_tool("echo", {"text": TEXT})
        check(f"{mode}: echo is no error", bool(echo.is_error), False)
        check(f"{mode}: echo returns its text", echo.content[0].text, TEXT)

        total = await client.call_tool("add", {"a": 40, "b": 2})
        check(f"{mode}: add is no error", bool(total.is_error), False)
        check(f"{mode}: add returns the sum", float(total.content[0].text), 42.0)

        check(f"{mode}: add refuses a wrong type", await refuses(client, "add", {"a": "x"}), True)
        check(f"{mode}: an unknown tool is refused", await refuses(client, "absent", {}), True)


async def refuses(client, tool, arguments):
    """True when the call fails, as a protocol error or as a result marked `isError`."""
    try:
        return bool((await client.call_tool(tool, arguments)).is_error)
    except MCPError:
        return True


async def main(url):
    await exercise(url, "auto", "2026-07-28")
    await exercise(url, "legacy", "2025-11-25")


anyio.run(main, sys.argv[1])
