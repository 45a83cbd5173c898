"""Tools of MCP servers: real ones, over stdio and over HTTP."""

import asyncio
import json
import shutil
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from langchain_core.messages import ToolMessage

from project4_agent_api.agents.mcp import load_mcp_tools
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.settings import Settings
from shared.errors import ConfigurationError
from shared.serve import listen
from shared.settings import load_settings
from tests.project4_agent_api.agents.conftest import Conversation, MakeServices, MakeSettings, Talk, last
from tests.support.scripted_model import ScriptedModel, calls, says

SERVER = str(Path(__file__).parents[2] / "support" / "mcp_server.py")
STDIO = {"transport": "stdio", "command": sys.executable, "args": [SERVER, "stdio"]}


@pytest.fixture
async def http_server() -> AsyncIterator[dict[str, Any]]:
    with listen("127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, SERVER, "http", str(listening.fileno())), pass_fds=[listening.fileno()], stderr=DEVNULL
        )
        async with httpx2.AsyncClient(timeout=120, trust_env=False) as http:
            await http.get(url)  # the socket listens already: this is answered when the server has started
        yield {"transport": "streamable_http", "url": url}
        process.kill()
        await process.wait()


async def test_stdio_server_tools_are_called(
    agent_settings: MakeSettings, make_services: MakeServices, model: ScriptedModel
) -> None:
    servers = {"here": STDIO, "told": STDIO | {"env": {"TOLD": "a secret"}}}
    tools = await load_mcp_tools(agent_settings(mcp_servers=json.dumps(servers)).mcp_servers)
    assert [tool.name for tool in tools] == [
        *("here_add", "here_told", "here_fail"),
        *("told_add", "told_told", "told_fail"),
    ]

    async with make_services(mcp_tools=tuple(tools), agent_approval_tools="here_fail") as services:
        conversation = Conversation(await Graphs.load(None, services))
        model.then(
            calls(
                ("here_add", '{"a": 2, "b": 3}'), ("told_told", "{}"), ("told_fail", "{}"), ("here_add", '{"a": "x"}')
            ),
            says("Done."),
        )
        messages = await conversation.say("Try them.")

    results = [message for message in messages if isinstance(message, ToolMessage)]
    assert [message.status for message in results] == ["success", "success", "error", "error"]
    assert results[0].text == "5"
    assert results[1].text == "a secret"
    assert "out of order" in results[2].text
    assert last(messages) == "Done."


async def test_http_server_tools_are_called(
    agent_settings: MakeSettings, talk: Talk, http_server: dict[str, Any], model: ScriptedModel
) -> None:
    settings = agent_settings(mcp_servers={"there": http_server | {"headers": {"Authorization": "Bearer key-12345"}}})
    assert "Bearer key-12345" in settings.secrets()
    assert "key-12345" not in repr(settings)

    tools = await load_mcp_tools(settings.mcp_servers)
    async with talk(mcp_tools=tuple(tools)) as conversation:
        model.then(calls(("there_add", '{"a": 2, "b": 3}')), says("Five."))
        _, result, answer = await conversation.say("Two and three?")

    assert (result.text, answer.text) == ("5", "Five.")


async def test_lost_mcp_server_is_a_tool_error(
    agent_settings: MakeSettings, talk: Talk, model: ScriptedModel, tmp_path: Path
) -> None:
    copy = tmp_path / "server.py"
    shutil.copy(SERVER, copy)
    server = STDIO | {"args": [str(copy), "stdio"]}
    tools = await load_mcp_tools(agent_settings(mcp_servers={"gone": server}).mcp_servers)
    copy.unlink()

    async with talk(mcp_tools=tuple(tools)) as conversation:
        model.then(calls(("gone_add", '{"a": 2, "b": 3}')), says("It is gone."))
        _, result, answer = await conversation.say("Two and three?")

    assert isinstance(result, ToolMessage)
    assert result.status == "error"
    assert answer.text == "It is gone."


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ({"transport": "stdio", "command": "/no/such/program"}, "FileNotFoundError"),
        ({"transport": "stdio", "command": "false"}, "(McpError|BrokenResourceError)"),
        ({"transport": "http", "url": "http://127.0.0.1:1/key-12345"}, "ConnectError"),
    ],
)
async def test_mcp_server_that_fails_to_start_is_one_line(
    agent_settings: MakeSettings, server: dict[str, Any], why: str
) -> None:
    servers = agent_settings(mcp_servers={"broken": server}).mcp_servers
    with pytest.raises(ConfigurationError, match=f"MCP_SERVERS: broken cannot be used: {why}") as refused:
        await load_mcp_tools(servers)

    assert "\n" not in str(refused.value)
    assert "key-12345" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{", "MCP_SERVERS: is not JSON"),
        ("[]", "MCP_SERVERS: Input should be a valid dictionary"),
        ('{"a": {}}', r"MCP_SERVERS\.a: Unable to extract tag using discriminator 'transport'"),
        ('{"a": {"transport": "sse", "url": "http://x"}}', r"MCP_SERVERS\.a: Input tag 'sse'"),
        ('{"a": {"transport": "stdio"}}', r"MCP_SERVERS\.a\.stdio\.command: Field required"),
        ('{"a": {"transport": "http", "url": "x"}}', r"MCP_SERVERS\.a\.http\.url: must be an http"),
        ('{"a": {"transport": "stdio", "command": "x", "shell": true}}', r"MCP_SERVERS\.a\.stdio\.shell: Extra"),
        ('{"a b": {"transport": "stdio", "command": "x"}}', r"MCP_SERVERS\.a b\.\[key\]: String should match"),
    ],
)
def test_invalid_mcp_settings_are_rejected(
    agent_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, value: str, why: str
) -> None:
    for name, given in agent_settings().model_dump(exclude_defaults=True).items():
        monkeypatch.setenv(name.upper(), given.get_secret_value() if hasattr(given, "get_secret_value") else str(given))
    monkeypatch.setenv("MCP_SERVERS", value)

    with pytest.raises(ConfigurationError, match=why):
        load_settings(Settings)
