"""PyPI `mcp` 1.30.0 as a server for our client.

Usage: python server_v1.py stdio|PORT
"""

import sys

from mcp.server.fastmcp import Context, FastMCP
from pydantic import BaseModel

server = FastMCP("python", port=0 if sys.argv[1] == "stdio" else int(sys.argv[1]))


class Person(BaseModel):
    name: str


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
async def work(context: Context) -> str:
    """Tells its progress."""
    for done in (1, 2, 3):
        await context.report_progress(done, 3)
    return "worked"


@server.tool()
async def ask(context: Context) -> str:
    """Asks who the user is."""
    answer = await context.elicit("Who are you?", Person)
    return f"Hello, {answer.data.name}!"


@server.resource("test://hello")
def hello() -> str:
    return "hello from Python"


@server.prompt()
def greet(name: str) -> str:
    return f"Hello, {name}!"


server.run("stdio" if sys.argv[1] == "stdio" else "streamable-http")
