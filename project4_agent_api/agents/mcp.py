"""Tools of MCP servers.

Each call opens its own session: calls survive a restart of the server, and no user's call can see what another user's
call left in a session. A server over stdio is therefore started as a process for each call.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from langchain_core.tools import BaseTool

from project4_agent_api.settings import HttpMcpServer, McpServer
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_mcp_adapters.sessions import Connection

_TIMEOUT_SECONDS = 30  # to start, and to list the tools


async def load_mcp_tools(servers: Mapping[str, McpServer]) -> list[BaseTool]:
    """Load the servers' tools. A tool's name is prefixed with its server's: `files_read`.

    Raises:
        ConfigurationError: if a server does not answer.
    """
    if not servers:
        return []
    from langchain_mcp_adapters.client import MultiServerMCPClient  # noqa: PLC0415  takes a third of a second

    client = MultiServerMCPClient(
        {name: _connection(server) for name, server in servers.items()}, tool_name_prefix=True
    )
    tools = await asyncio.gather(*(_load_tools(client, name) for name in servers))
    return [tool for server_tools in tools for tool in server_tools]


async def _load_tools(client: "MultiServerMCPClient", name: str) -> list[BaseTool]:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await client.get_tools(server_name=name)
    except TimeoutError:
        reason = f"it did not answer within {_TIMEOUT_SECONDS} s"
    except Exception as error:  # noqa: BLE001  any failure makes this server unusable
        reason = _reason(error)
    raise ConfigurationError(f"MCP_SERVERS: {name} cannot be used: {reason}")


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    # An HTTP client's message contains the URL, which may contain a key.
    text = error.strerror or "" if isinstance(error, OSError) else ""
    return f"{type(error).__name__}{f' ({text})' if text else ''}"


def _connection(server: McpServer) -> "Connection":
    connection = server.model_dump(exclude={"headers", "env"}, exclude_none=True, mode="json")
    if isinstance(server, HttpMcpServer):
        connection["headers"] = {name: value.get_secret_value() for name, value in server.headers.items()}
    elif server.env is not None:
        connection["env"] = {name: value.get_secret_value() for name, value in server.env.items()}
    return cast("Connection", connection)
