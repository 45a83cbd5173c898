"""An MCP server over stdio, whose tool waits for a file: `slow_tools.py FOLDER`."""

import asyncio
import sys
from pathlib import Path

from mcp.server.fastmcp import FastMCP

server = FastMCP("tests", log_level="ERROR")
folder = Path(sys.argv[1])


@server.tool()
async def check_stock(product: str) -> str:
    """Check how many pieces of a product are in stock."""
    (folder / "started").touch()
    while not (folder / "go").exists():  # noqa: ASYNC110  another process writes the file
        await asyncio.sleep(0.05)
    return f"12 pieces of {product} are in stock."


server.run("stdio")
