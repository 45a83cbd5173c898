"""Graphs that are loaded again when a file of their project changes."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from loguru import logger

from project4_agent_api.graphs import langgraph_json
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.graphs.reloading import keep_reloading
from shared.background import background_task
from tests.project4_agent_api.agents.conftest import MakeServices


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(sink)


GRAPH = """
from typing import TypedDict
from langgraph.graph import START, StateGraph
from parts.words import word

class State(TypedDict, total=False):
    said: str

graph = StateGraph(State).add_node("say", lambda _: {{"said": "{said} " + word()}}).add_edge(START, "say").compile()
"""
WORDS = "def word():\n    return {word!r}\n"


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setattr("sys.dont_write_bytecode", sys.dont_write_bytecode)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "parts"]:
        del sys.modules[name]


@asynccontextmanager
async def reloaded(make_services: MakeServices, folder: Path) -> AsyncIterator[Graphs]:
    (folder / "parts").mkdir()
    (folder / "langgraph.json").write_text('{"graphs": {"team": "./reloaded_graph.py:graph"}}')
    (folder / "reloaded_graph.py").write_text(GRAPH.format(said="says"))
    (folder / "parts" / "words.py").write_text(WORDS.format(word="one"))
    path = folder / "langgraph.json"
    project = langgraph_json.read(path)
    async with make_services() as services:
        graphs = await Graphs.load(project, services)
        async with background_task(keep_reloading(graphs, path, project.modules, services)):
            yield graphs


async def said(graphs: Graphs) -> str:
    async with graphs.open("team", {}, checkpointer=None, store=None) as graph:
        return str((await graph.ainvoke({}))["said"])


def save(file: Path, text: str) -> None:
    """Replace a file at once: a reload in mid-write would read an empty module."""
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)


async def edited(graphs: Graphs, file: Path, text: str, expected: str) -> None:
    """Write a file until the graphs return the expected text: the watcher may not have started yet."""
    async with asyncio.timeout(60):
        while await said(graphs) != expected:
            await asyncio.to_thread(save, file, text)
            await asyncio.sleep(0.05)


async def test_edit_of_any_module_of_a_project_is_live(make_services: MakeServices, tmp_path: Path) -> None:
    async with reloaded(make_services, tmp_path) as graphs:
        assert await said(graphs) == "says one"
        async with graphs.open("team", {}, checkpointer=None, store=None) as running:
            await edited(graphs, tmp_path / "parts" / "words.py", WORDS.format(word="two"), "says two")
            await edited(graphs, tmp_path / "reloaded_graph.py", GRAPH.format(said="tells"), "tells two")

            assert (await running.ainvoke({}))["said"] == "says one"  # a run keeps the graph that it has opened


async def test_edit_that_cannot_be_loaded_keeps_the_graphs(
    make_services: MakeServices, tmp_path: Path, logged: list[str]
) -> None:
    async with reloaded(make_services, tmp_path) as graphs:
        graph = tmp_path / "reloaded_graph.py"
        async with asyncio.timeout(60):
            while not any("the changed graphs are not loaded" in line for line in logged):
                await asyncio.to_thread(save, graph, "import parts.missing\n")
                await asyncio.sleep(0.05)
        assert any("No module named 'parts.missing'" in line for line in logged)
        assert await said(graphs) == "says one"

        (tmp_path / "parts" / "new").mkdir()
        (tmp_path / "parts" / "new" / "missing.py").write_text(WORDS.format(word="three"))
        await edited(graphs, graph, GRAPH.format(said="says").replace("parts.words", "parts.new.missing"), "says three")
        await edited(graphs, tmp_path / "parts" / "new" / "missing.py", WORDS.format(word="four"), "says four")
