"""An MCP server with a few tools, over stdio or streamable HTTP: `mcp_server.py stdio`, or `http PORT`."""

import os
import sys

from mcp.server.fastmcp import FastMCP

server = FastMCP("tests", port=int(sys.argv[2]) if len(sys.argv) > 2 else 8000, log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def told() -> str:
    """Say what the environment has told."""
    return os.environ.get("TOLD", "nothing")


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("out of order")


server.run("streamable-http" if sys.argv[1] == "http" else "stdio")
