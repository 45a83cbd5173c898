"""MCP's client for Python: call an assistant as a tool, and approve the tool calls that it asks about."""

import asyncio
import os
from typing import Any

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult


async def approve(_: Any, question: Any) -> ElicitResult:  # noqa: ANN401  the SDK's
    """Approve every tool call that the assistant asks about."""
    print(question.message)
    decisions = {name: "approve" for name in question.requestedSchema["properties"] if name.startswith("decision")}
    return ElicitResult(action="accept", content=decisions)


async def main() -> None:
    """Ask one question."""
    key = {"Authorization": f"Bearer {os.environ['AGENT_API_KEY']}"}
    async with (
        httpx.AsyncClient(headers=key, timeout=300) as http,
        streamable_http_client(f"{os.environ['AGENT_API_URL']}/mcp", http_client=http) as (read, write, _),
        ClientSession(read, write, elicitation_callback=approve) as session,
    ):
        await session.initialize()
        result = await session.call_tool("agent", {"message": "What is six times seven?"})
        print(result.content[0].text)


asyncio.run(main())
