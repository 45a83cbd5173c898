"""Projects in the shapes of public ones load unchanged and answer; those with hooks are tested in their own modules."""

import builtins
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

from project4_agent_api.graphs.registry import Graphs
from tests.langgraph_projects.conftest import PROJECTS
from tests.project4_agent_api.agents.conftest import MakeServices, agent_settings, make_services
from tests.support.scripted_model import ScriptedModel, calls, says

__all__ = ["agent_settings", "make_services"]  # fixtures

SAID = {
    "plain": "said plain",
    "from_config": "said a word",
    "awaited": "said awaited",
    "opened": "said opened",
    "streamed": "said streamed",
    "for_user": "said ada",
}


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave Python's imports and the environment as they were."""
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setattr(builtins, "__import__", builtins.__import__)
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


async def run(graphs: Graphs, name: str, value: Any, store: InMemoryStore, **configurable: Any) -> Any:  # noqa: ANN401  any state
    user = {"langgraph_auth_user": {"identity": "ada"}, "langgraph_auth_user_id": "ada"}
    config: Any = {"configurable": {"thread_id": name, "word": "a word", **user, **configurable}}
    async with graphs.open(name, config, checkpointer=InMemorySaver(), store=store) as graph:
        return await graph.ainvoke(value, config)


@pytest.mark.parametrize(
    ("project", "name", "value", "expected"),
    [
        ("template", "agent", {}, {"changeme": "output from call_model. Configured with None"}),
        ("functional", "flow", "cats", {"essay": "Essay 3: cats"}),
        ("build_keys", "agent", {}, {"said": "built"}),
        ("deep_research", "Writer of reports", {"findings": ["b", "a"]}, {"findings": ["b", "a"], "report": "a; b"}),
        *(("factories", name, {}, {"said": said}) for name, said in SAID.items()),
    ],
)
async def test_project_answers(
    make_services: MakeServices, project: str, name: str, value: object, expected: object
) -> None:
    async with make_services() as services:
        graphs = await Graphs.load(PROJECTS / project / "langgraph.json", services)
        assert await run(graphs, name, value, InMemoryStore()) == expected


async def test_researchers_run_side_by_side(make_services: MakeServices) -> None:
    async with make_services() as services:
        graphs = await Graphs.load(PROJECTS / "deep_research" / "langgraph.json", services)
        assert graphs.description("Writer of reports") == "Writes."
        state = await run(graphs, "Deep Researcher", {"topic": "cats"}, InMemoryStore())
        assert state["report"] == "found cats 0; found cats 1"


async def test_project_with_a_package_named_shared_answers(make_services: MakeServices) -> None:
    store = InMemoryStore()
    async with make_services() as services:
        graphs = await Graphs.load(PROJECTS / "research_assistant" / "langgraph.json", services)
        assert await run(graphs, "indexer", {"docs": ["a cat", "a dog"]}, store) == {"docs": []}
        state = await run(graphs, "retrieval_graph", {"query": "cat"}, store)
        assert state["answer"] == "a cat"


async def test_agent_of_a_package_that_is_not_installed_calls_its_tools(
    make_services: MakeServices, model: ScriptedModel
) -> None:
    model.profile = None  # the project calls the model itself
    model.then(calls(("weather", '{"city": "Oslo"}')), says("Sunny."))
    async with make_services() as services:
        graphs = await Graphs.load(PROJECTS / "react_agent" / "langgraph.json", services)
        state = await run(
            graphs, "agent", {"messages": [("user", "Weather?")]}, InMemoryStore(), base_url=model.base_url
        )
    assert [message.content for message in state["messages"][-2:]] == ["Oslo: It is sunny.", "Sunny."]
