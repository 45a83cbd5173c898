"""`agent-api import` between two services, each with its database."""

import argparse
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from agent_api.importing import command
from agent_api.importing.command import Report
from agent_api.importing.source import Source
from project4_agent_api.main import create_app
from project4_agent_api.settings import Settings
from shared.errors import ConfigurationError
from tests.project4_agent_api.conftest import settings_for
from tests.support.databases import Databases
from tests.support.running import running

GRAPHS = Path(__file__).parents[2] / "conformance" / "graphs" / "langgraph.json"
OPEN = {"langgraph_config": GRAPHS, "auth_required": False}


@pytest.fixture
def target_settings(make_settings: Callable[..., Any], databases: Databases, redis_url: str) -> Iterator[Settings]:
    with databases.migrated("project4_agent_api") as url:
        yield settings_for(make_settings, url, redis_url, redis_prefix="target", **OPEN)


@pytest.fixture
def source_url(make_settings4: Callable[..., Settings]) -> Iterator[str]:
    with running(create_app(make_settings4(**OPEN))) as url:
        yield url


@pytest.fixture
async def source(source_url: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=source_url, api_key=None) as client:
        yield client


async def imported(url: str, settings: Settings, **arguments: Any) -> Report:
    report = Report()
    values = {"source": url, "key": None, "header": [], "account": None, "only": None} | arguments
    await command._import(argparse.Namespace(**values), settings, report)
    return report


async def histories(url: str) -> dict[str, tuple[Any, Any]]:
    """Each thread's row and states, as the API shows them."""
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        source = Source(http)
        return {
            thread["thread_id"]: (thread, await source.history(thread["thread_id"]))
            async for thread in source.threads()
        }


def said(text: str) -> dict[str, Any]:
    return {"values": {"messages": [{"role": "user", "content": text}]}, "as_node": "__start__"}


async def test_import_copies_everything_and_can_be_repeated(
    source: LangGraphClient, source_url: str, target_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_api.importing.source._PAGE", 2)
    monkeypatch.setattr("agent_api.importing.source._STATES", 2)
    assistant = await source.assistants.create("configured", name="mine", context={"colour": "red"})
    await source.assistants.update(assistant["assistant_id"], name="mine, changed")
    for number in range(5):
        steps: Any = [{"updates": [said(f"{number}.{step}")]} for step in range(number)]
        await source.threads.create(graph_id="echo", supersteps=steps, metadata={"number": number})
        await source.store.put_item(["notes", str(number)], "key", {"number": number})
    kept = await source.threads.create(metadata={"empty": True})
    await source.crons.create("echo", schedule="0 9 * * 1", input={"messages": []}, metadata={"m": 1})
    await source.crons.create_for_thread(kept["thread_id"], "echo", schedule="0 9 1 * *")

    report = await imported(source_url, target_settings)

    assert report.complete, report.lines()
    assert report.lines() == [
        "assistants: 1 imported",
        "threads: 6 imported",
        "checkpoints: 10 imported",
        "items: 5 imported",
        "crons: 2 imported",
    ]
    again = await imported(source_url, target_settings)
    assert again.lines() == [
        "assistants: 1 already here",
        "threads: 6 already here",
        "items: 5 already here",
        "crons: 2 already here",
    ]
    with running(create_app(target_settings)) as url:
        assert await histories(url) == await histories(source_url)
        async with get_client(url=url, api_key=None) as client:
            versions = await client.assistants.get_versions(assistant["assistant_id"])
            assert [(version["version"], version["name"]) for version in versions] == [
                (2, "mine, changed"),
                (1, "mine"),
            ]
            assert versions[0]["context"] == {"colour": "red"}
            item: Any = await client.store.get_item(["notes", "3"], "key")
            assert item["value"] == {"number": 3}
            crons: Any = await client.crons.search()
            assert {(cron["thread_id"], cron["schedule"]) for cron in crons} == {
                (None, "0 9 * * 1"),
                (kept["thread_id"], "0 9 1 * *"),
            }


async def test_what_cannot_be_imported_is_reported(
    source: LangGraphClient, source_url: str, target_settings: Settings, tmp_path: Path
) -> None:
    await source.threads.create(graph_id="echo", supersteps=[{"updates": [said("Hi")]}])
    await source.assistants.create("echo", name="mine")
    (tmp_path / "langgraph.json").write_text('{"graphs": {"other": "./g.py:graph"}}')
    (tmp_path / "g.py").write_text("from langgraph.graph import START, MessagesState, StateGraph\n")
    with (tmp_path / "g.py").open("a") as file:
        file.write('graph = StateGraph(MessagesState).add_node("n", lambda _: {}).add_edge(START, "n")\n')
    settings = target_settings.model_copy(update={"langgraph_config": tmp_path / "langgraph.json"})

    report = await imported(source_url, settings)

    assert not report.complete
    assert report.lines() == [
        "assistants: 1 not imported",
        "threads: 1 not imported",
        "  assistants: there is no graph 'echo' here (1)",
        "  threads: there is no graph 'echo' here (1)",
    ]


async def test_wrong_address_and_account_are_one_line(
    source_url: str, target_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_api.importing.source._PAUSES", (0.01,))
    with pytest.raises(ConfigurationError, match="the server cannot be reached"):
        await imported("http://127.0.0.1:9", target_settings)
    with pytest.raises(ConfigurationError, match="responded with status 404 to /assistants/search"):
        await imported(f"{source_url}/elsewhere", target_settings)
    for address in ("localhost:2024", "https://", "server"):
        with pytest.raises(ConfigurationError, match="--from: has to be an address such as https"):
            await imported(address, target_settings)
    page = Starlette(routes=[Route("/{path:path}", lambda _: HTMLResponse("<p>Hello"), methods=["POST"])])
    with (
        running(page) as url,
        pytest.raises(ConfigurationError, match="responded without JSON to /assistants/search: is it one of"),
    ):
        await imported(url, target_settings)
    with pytest.raises(ConfigurationError, match="there is no account nobody"):
        await imported(source_url, target_settings, account="nobody@example.com")
    with pytest.raises(ConfigurationError, match="--header: has to be NAME:VALUE"):
        await imported(source_url, target_settings, header=["x"])
    locked = target_settings.model_copy(update={"auth_required": True})
    with pytest.raises(ConfigurationError, match="--account: name the account"):
        await imported(source_url, locked)
