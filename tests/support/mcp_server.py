"""An MCP server with a few tools, over stdio or over HTTP on an open socket: `mcp_server.py stdio`, or `http FD`."""

import os
import socket
import sys

import uvicorn
from mcp.server.fastmcp import FastMCP

server = FastMCP("tests", log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def told() -> str:
    """Return a variable of the environment."""
    return os.environ.get("TOLD", "nothing")


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("out of order")


if sys.argv[1] == "http":
    config = uvicorn.Config(server.streamable_http_app(), log_config=None)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[2]))])
else:
    server.run("stdio")
