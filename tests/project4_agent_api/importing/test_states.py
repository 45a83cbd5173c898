"""Checkpoints that are rebuilt from the states which LangGraph's API shows: they read the same, and go on the same."""

import json
import operator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from agent_api.importing.states import rebuild
from project4_agent_api.core.serialization import dumps
from project4_agent_api.threads.snapshots import to_thread_state

THREAD: Any = {"configurable": {"thread_id": "00000000-0000-7000-8000-00000000000a"}}


@dataclass
class Point:
    x: int


class Walk(TypedDict, total=False):
    trail: Annotated[list[Any], operator.add]
    product: Annotated[int, operator.mul]
    point: Point
    topic: str


def step(value: object) -> Any:  # noqa: ANN401  LangGraph's own types are generic
    return lambda _: {"trail": [value]}


def ask(name: str) -> Any:  # noqa: ANN401  LangGraph's own types are generic
    return lambda _: {"trail": [f"{name}: {interrupt(name)}"]}


def fail(_: Walk) -> Walk:
    raise ValueError("It is broken.")


def walk(*nodes: tuple[str, Any]) -> StateGraph[Any, Any, Any, Any]:
    return StateGraph(Walk).add_sequence(nodes).add_edge(START, nodes[0][0])


chat = StateGraph(MessagesState).add_node("reply", lambda state: {"messages": [AIMessage(state["messages"][-1].text)]})
joined = (
    StateGraph(Walk)
    .add_node("left", step("l"))
    .add_node("right", ask("right"))
    .add_node("end", step("end"))
    .add_edge(START, "left")
    .add_edge(START, "right")
    .add_edge(["left", "right"], "end")
)
mapped = (
    StateGraph(Walk)
    .add_node("each", lambda state: {"trail": [state["topic"]]})
    .add_conditional_edges(START, lambda _: [Send("each", {"topic": "a"}), Send("each", {"topic": "b"})])
)


@entrypoint(checkpointer=InMemorySaver())
def functional(given: int) -> int:
    return given + 1


# One branch is a step longer than the other, and asks in it.
late = (
    StateGraph(Walk)
    .add_node("short", step("short"))
    .add_node("long", step("long"))
    .add_node("longer", ask("longer"))
    .add_node("end", step("end"))
    .add_edge(START, "short")
    .add_edge(START, "long")
    .add_edge("long", "longer")
    .add_edge(["short", "longer"], "end")
)
GRAPHS: dict[str, tuple[Any, Any]] = {
    "chat": (chat.add_edge(START, "reply").compile(), {"messages": [HumanMessage("Hi")]}),
    "steps": (walk(("one", step(1)), ("two", step(2))).compile(), {"product": 3}),
    "asking": (walk(("one", step(1)), ("ask", ask("May I?")), ("end", step(2))).compile(), {"topic": "x"}),
    "joined": (joined.compile(), {"topic": "x"}),
    "late": (late.compile(), {"topic": "x"}),
    "failing": (walk(("one", step(1)), ("fail", fail)).compile(), {}),
    "objects": (walk(("one", lambda _: {"point": Point(1)}), ("two", step(2))).compile(), {}),
    "breakpoint": (walk(("one", step(1)), ("two", step(2))).compile(interrupt_before=["two"]), {}),
    "mapped": (mapped.compile(), {}),
    "subgraph": (walk(("one", step(1)), ("inner", walk(("deep", step(2))).compile())).compile(), {}),
    "functional": (functional, 1),
}
# How a thread goes on; others get a new input.
RESUMED: dict[str, Any] = dict.fromkeys(("asking", "joined", "late"), Command(resume="yes"))
RESUMED |= dict.fromkeys(("breakpoint", "failing"))


async def states_of(graph: Any, namespace: str = "") -> list[dict[str, Any]]:  # noqa: ANN401  LangGraph's own types are generic
    """The history as the API shows it, the oldest first."""
    place = {"configurable": THREAD["configurable"] | {"checkpoint_ns": namespace}}
    shown = [to_thread_state(snapshot) async for snapshot in graph.aget_state_history(place)]
    states: list[dict[str, Any]] = json.loads(dumps(shown[::-1]))
    return states


async def run(graph: Any, given: Any) -> Any:  # noqa: ANN401  LangGraph's own types are generic
    try:
        return json.loads(dumps(await graph.ainvoke(given, THREAD)))
    except ValueError as error:
        return str(error)


inner = walk(("deep", step("deep")), ("ask", ask("deeper")))
middle = walk(("first", step("middle")), ("inner", inner.compile()))
asking_inside = walk(("one", step(1)), ("middle", middle.compile()), ("end", step("end"))).compile()


async def inside(graph: Any) -> dict[str, list[dict[str, Any]]]:  # noqa: ANN401  LangGraph's own types are generic
    """The histories in the namespaces of subgraphs, the oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    waiting = await states_of(graph)
    while waiting:
        state = waiting.pop()
        for task in state["tasks"]:
            if task["checkpoint"]:
                namespace = task["checkpoint"]["checkpoint_ns"]
                found[namespace] = await states_of(graph, namespace)
                waiting += found[namespace]
    return found


async def test_subgraph_that_waits_for_an_answer_goes_on_where_it_is() -> None:
    original = asking_inside.copy(update={"checkpointer": InMemorySaver()})
    await run(original, {"topic": "x"})
    states, namespaces = await states_of(original), await inside(original)
    assert [namespace.count("|") for namespace in namespaces] == [0, 1]

    copy = asking_inside.copy()
    rebuilt = await rebuild(copy, THREAD["configurable"]["thread_id"], states, namespaces)

    assert (rebuilt.differing, rebuilt.incomplete) == (0, False)
    assert await inside(copy) == namespaces
    outcome = await run(copy, Command(resume="yes"))
    assert outcome == await run(original, Command(resume="yes"))
    # Each step once: nothing inside the subgraphs has started anew.
    assert outcome["trail"] == [1, 1, "middle", 1, "middle", "deep", "deeper: yes", "end"]


@pytest.mark.parametrize("name", GRAPHS)
async def test_rebuilt_history_is_equal_and_goes_on(name: str) -> None:
    graph, given = GRAPHS[name]
    original = graph.copy(update={"checkpointer": InMemorySaver()})
    await run(original, given)
    if name in ("chat", "steps"):
        await original.aupdate_state((await original.aget_state(THREAD)).parent_config, given)  # a branch
        await run(original, given)
    states = await states_of(original)
    assert len(states) >= 2

    copy = graph.copy()
    rebuilt = await rebuild(copy, THREAD["configurable"]["thread_id"], states)

    assert await states_of(copy) == states
    assert (rebuilt.differing, rebuilt.incomplete) == (0, False)
    resumed = RESUMED.get(name, given)
    outcome = await run(copy, resumed)
    expected = await run(original, resumed)
    assert without_ids(outcome) == without_ids(expected)


def without_ids(outcome: Any) -> Any:  # noqa: ANN401  LangGraph's own types are generic
    """An outcome without the ids of messages and interrupts, which are made anew."""
    if isinstance(outcome, dict):
        return {key: without_ids(value) for key, value in outcome.items() if key != "id"}
    return [without_ids(value) for value in outcome] if isinstance(outcome, list) else outcome


async def test_messages_are_objects_again() -> None:
    graph, given = GRAPHS["chat"]
    original = graph.copy(update={"checkpointer": InMemorySaver()})
    await run(original, given)
    copy = graph.copy()
    await rebuild(copy, THREAD["configurable"]["thread_id"], await states_of(original))

    messages = (await copy.aget_state(THREAD)).values["messages"]

    assert [type(message) for message in messages] == [HumanMessage, AIMessage]


sending = (
    StateGraph(Walk)
    .add_node("each", lambda state: {"trail": [interrupt(state["topic"])]})
    .add_conditional_edges(START, lambda _: [Send("each", {"topic": "a"})])
)
routing = (
    StateGraph(Walk)
    .add_node("left", step("l"))
    .add_node("right", ask("right"))
    .add_edge(START, "left")
    .add_edge(START, "right")
    .add_conditional_edges("left", lambda _: "__end__")
)


@pytest.mark.parametrize("builder", [sending, routing], ids=["input", "route"])
async def test_thread_that_waits_with_what_the_api_does_not_show_is_reported(
    builder: StateGraph[Any, Any, Any, Any],
) -> None:
    waiting = builder.compile()
    original = waiting.copy(update={"checkpointer": InMemorySaver()})
    await run(original, {})

    rebuilt = await rebuild(waiting.copy(), THREAD["configurable"]["thread_id"], await states_of(original))

    assert rebuilt.incomplete
