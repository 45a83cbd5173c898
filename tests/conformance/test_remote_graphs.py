"""Graphs of the server inside a local graph: LangGraph's `RemoteGraph` as a graph, a node, and a tool's subgraph."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client, get_sync_client
from typing_extensions import TypedDict

from tests.conformance.server import Server
from tests.conformance.support import says


class Asked(TypedDict, total=False):
    topic: str
    answers: list[Any]


Remote = Callable[[str], RemoteGraph]


@pytest.fixture
async def remote(server: Server) -> AsyncIterator[Remote]:
    """Makes a graph of the server."""
    options: dict[str, Any] = {"url": server.url, "headers": server.headers, "api_key": None}
    async with get_client(**options) as client:
        with get_sync_client(**options) as sync_client:
            yield lambda graph: RemoteGraph(graph, client=client, sync_client=sync_client)


def config(thread_id: str, **more: Any) -> RunnableConfig:
    return {
        "configurable": {"thread_id": thread_id},
        "metadata": {"asked": "here"},
        "run_name": "named",
        "max_concurrency": 3,
        "tags": ["t"],
        **more,  # type: ignore[typeddict-item]  # other fields of the same type
    }


async def test_remote_graph_is_invoked(remote: Remote, thread_id: str) -> None:
    graph = remote("counter")
    assert await graph.ainvoke({"count": 1}) == {"count": 4, "trail": ["one", "two", "three"]}
    assert (await graph.ainvoke({"count": 1}, config(thread_id)))["count"] == 4
    assert (await graph.ainvoke({"count": 1}, config(thread_id)))["count"] == 8
    state = await graph.aget_state(config(thread_id))
    assert state.values["count"] == 8
    assert state.metadata is not None
    assert state.metadata["asked"] == "here"  # type: ignore[typeddict-item]  # the client's own
    history = [snapshot async for snapshot in graph.aget_state_history(config(thread_id), limit=2)]
    assert [snapshot.values["count"] for snapshot in history] == [8, 7]
    await graph.aupdate_state(config(thread_id), {"count": 2}, as_node="three")
    assert (await graph.aget_state(config(thread_id))).values["count"] == 10


@pytest.mark.reference_differs("it answers 500")
async def test_remote_graph_reads_the_history_before_a_snapshot(remote: Remote, thread_id: str) -> None:
    graph = remote("counter")
    await graph.ainvoke({"count": 1}, config(thread_id))
    newest, *older = [snapshot async for snapshot in graph.aget_state_history(config(thread_id))]
    before = [snapshot async for snapshot in graph.aget_state_history(config(thread_id), before=newest.config)]
    assert [snapshot.config for snapshot in before] == [snapshot.config for snapshot in older]


async def test_remote_graph_is_streamed(remote: Remote, thread_id: str) -> None:
    graph = remote("chat")
    modes: list[Any] = ["updates", "messages", "values"]
    parts: list[Any] = [part async for part in graph.astream(says("Hello"), config(thread_id), stream_mode=modes)]
    assert {mode for mode, *_ in parts} == set(modes)
    tokens = [data[0]["content"] for mode, data, *_ in parts if mode == "messages"]
    assert "".join(tokens).startswith("One two three.")


def test_remote_graph_is_a_node(remote: Remote, thread_id: str) -> None:
    graph = StateGraph(MessagesState).add_node("remote", remote("chat")).add_edge(START, "remote").compile()
    question: Any = says("The sum, please.")
    result = graph.invoke(question, config(thread_id))
    assert result["messages"][-1].content == "The sum is 5."
    events: Iterator[Any] = graph.stream(question, config(thread_id), stream_mode="updates", subgraphs=True)
    assert any(namespace and namespace[0].startswith("remote:") for namespace, _ in events)


async def test_remote_graph_is_a_node_with_a_checkpointer(remote: Remote) -> None:
    graph = (
        StateGraph(MessagesState)
        .add_node("remote", remote("echo"))
        .add_edge(START, "remote")
        .compile(checkpointer=InMemorySaver())
    )
    made = await remote("echo").ainvoke(says("Hello"))
    assert made["messages"][-1]["content"] == "Echo: Hello"
    # Without a thread of its own, the remote graph gets the thread of the outer one, and creates it.
    thread = config("0198f000-0000-7000-8000-00000000000a")
    for word in ("one", "two"):
        said: Any = says(word)
        messages: list[AnyMessage] = (await graph.ainvoke(said, thread))["messages"]
        assert messages[-1].content == f"Echo: {word}"


async def test_question_of_a_remote_graph_interrupts_the_outer_one(remote: Remote, thread_id: str) -> None:
    approval = remote("approval")
    graph = (
        StateGraph(Asked).add_node("remote", approval).add_edge(START, "remote").compile(checkpointer=InMemorySaver())
    )
    (question,) = (await graph.ainvoke({"topic": "go"}, config(thread_id)))["__interrupt__"]
    assert question.value == {"question": "May I go?"}
    answered = await approval.ainvoke(Command(resume="yes"), config(thread_id))
    assert answered["answers"] == ["prepared", "yes", "finished"]


async def test_remote_graph_takes_a_context(remote: Remote, thread_id: str) -> None:
    graph = remote("preferences")
    assert (await graph.ainvoke({}, config(thread_id)))["shown"]["colour"] == "blue"
    told: Any = {"colour": "red", "unknown": 1}
    assert (await graph.ainvoke({}, config(thread_id), context=told))["shown"]["colour"] == "red"


@pytest.mark.parametrize("graph", ["nested", "chat"])
async def test_remote_graph_is_drawn(remote: Remote, graph: str) -> None:
    drawing = await remote(graph).aget_graph(xray=True)
    assert "__start__" in drawing.nodes
