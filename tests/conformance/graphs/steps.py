"""Graphs of several steps: one that counts, one that takes its time, one that fails, one that reports its progress."""

import asyncio
import operator
from typing import Annotated

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.stream.transformers import (
    CheckpointsTransformer,
    CustomTransformer,
    TasksTransformer,
    UpdatesTransformer,
)
from typing_extensions import TypedDict  # typing's own has no schema before Python 3.12


class Count(TypedDict, total=False):
    """How far it has counted, and which steps have run."""

    count: Annotated[int, operator.add]
    trail: Annotated[list[str], operator.add]


def _one(state: Count) -> Count:
    return {"count": 1, "trail": ["one"]}


def _two(state: Count) -> Count:
    return {"count": 1, "trail": ["two"]}


def _three(state: Count) -> Count:
    return {"count": 1, "trail": ["three"]}


# The newer streams carry of these kinds what a graph asks for when it is compiled.
_ASKED_FOR = [UpdatesTransformer, TasksTransformer, CheckpointsTransformer, CustomTransformer]

counter = (
    StateGraph(Count)
    .add_sequence([("one", _one), ("two", _two), ("three", _three)])
    .add_edge(START, "one")
    .compile(transformers=_ASKED_FOR)
)


class Sleep(TypedDict, total=False):
    """How long the second step takes, and which steps have ended."""

    seconds: float
    done: Annotated[list[str], operator.add]


def _lie_down(state: Sleep) -> Sleep:
    return {"done": ["lie_down"]}


async def _sleep(state: Sleep) -> Sleep:
    get_stream_writer()({"asleep": True})
    await asyncio.sleep(state.get("seconds", 0))
    return {"done": ["sleep"]}


slow = (
    StateGraph(Sleep).add_sequence([("lie_down", _lie_down), ("sleep", _sleep)]).add_edge(START, "lie_down").compile()
)


def _break(state: Count) -> Count:
    message = "It is broken."
    raise ValueError(message)


failing = StateGraph(Count).add_sequence([("one", _one), ("break", _break)]).add_edge(START, "one").compile()


def _report(state: Count) -> Count:
    write = get_stream_writer()
    for part in range(3):
        write({"part": part})
    return {"count": 1}


progress = StateGraph(Count).add_node("report", _report).add_edge(START, "report").compile(transformers=_ASKED_FOR)


def _announce(state: Count) -> Count:
    write = get_stream_writer()
    write({"name": "other", "part": 0})
    write({"name": "announced", "part": 1})
    return {"count": 1}


announcing = StateGraph(Count).add_node(_announce).add_edge(START, "_announce").compile(transformers=_ASKED_FOR)
