"""An MCP server by the official SDK for Python: says its port in a line, and serves until it is ended."""

import json
import socket

from mcp.server import MCPServer

server = MCPServer("shop")


@server.tool()
def create_order(amount: float) -> str:
    """Places an order."""
    return f"ordered for {amount}"


@server.tool()
def refund(order: str) -> str:
    """Gives the money of an order back."""
    return f"refunded {order}"


@server.resource("note://greeting")
def greeting() -> str:
    """A greeting."""
    return "hello"


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
print(json.dumps({"port": port}), flush=True)
server.run(transport="streamable-http", host="127.0.0.1", port=port)
