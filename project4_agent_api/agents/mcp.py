"""Tools of MCP servers.

Each call opens a session of its own: a server that was restarted is found again, and what one user's call leaves in a
session no other user's call finds there. A server over stdio is so started as a process for each call.
"""

import asyncio
from collections.abc import Mapping
from typing import cast

from langchain_core.tools import BaseTool
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.sessions import Connection

from project4_agent_api.settings import HttpMcpServer, McpServer
from shared.errors import ConfigurationError

_SECONDS = 30  # to start, and to say which tools there are


async def load_mcp_tools(servers: Mapping[str, McpServer]) -> list[BaseTool]:
    """Ask servers for their tools. Their names get the server's in front: `files_read`.

    Raises:
        ConfigurationError: if one does not answer.
    """
    client = MultiServerMCPClient(
        {name: _connection(server) for name, server in servers.items()}, tool_name_prefix=True
    )
    tools = await asyncio.gather(*(_tools_of(client, name) for name in servers))
    return [tool for of_one in tools for tool in of_one]


async def _tools_of(client: MultiServerMCPClient, name: str) -> list[BaseTool]:
    try:
        async with asyncio.timeout(_SECONDS):
            return await client.get_tools(server_name=name)
    except TimeoutError:
        reason = f"it did not answer within {_SECONDS} s"
    except Exception as error:  # noqa: BLE001  whatever it is, this server's tools cannot be had
        reason = _reason(error)
    raise ConfigurationError(f"MCP_SERVERS: {name} cannot be used: {reason}")


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    # Of an HTTP client's exception the text holds the address, which may hold a key.
    text = error.strerror or "" if isinstance(error, OSError) else ""
    return f"{type(error).__name__}{f' ({text})' if text else ''}"


def _connection(server: McpServer) -> Connection:
    told = server.model_dump(exclude={"headers", "env"}, exclude_none=True, mode="json")
    if isinstance(server, HttpMcpServer):
        told["headers"] = {name: value.get_secret_value() for name, value in server.headers.items()}
    elif server.env is not None:
        told["env"] = {name: value.get_secret_value() for name, value in server.env.items()}
    return cast("Connection", told)
