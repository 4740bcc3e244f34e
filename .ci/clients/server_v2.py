"""PyPI `mcp` 2.3.0 as a server for our client.

Usage: python server_v2.py stdio|PORT
"""

import sys
from typing import Annotated

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel

server = MCPServer("python")


class Person(BaseModel):
    name: str


def who() -> Elicit[Person]:
    return Elicit("Who are you?", Person)


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
def ask(person: Annotated[Person, Resolve(who)]) -> str:
    """Asks who the user is."""
    return f"Hello, {person.name}!"


@server.resource("test://hello")
def hello() -> str:
    return "hello from Python"


@server.prompt()
def greet(name: str) -> str:
    return f"Hello, {name}!"


if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    server.run("streamable-http", port=int(sys.argv[1]))
