"""PyPI `mcp` 2.3.0 as a server for our client.

Usage: python server_v2.py stdio|PORT
"""

import sys

from mcp.server import MCPServer

server = MCPServer("python")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


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
