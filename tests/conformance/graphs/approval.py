"""Graphs that ask a person: once, twice in one step, and in two steps side by side."""

import operator
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict  # typing's own has no schema before Python 3.12


class Asked(TypedDict, total=False):
    """The subject of the question, and its answer."""

    topic: str
    answers: Annotated[list[Any], operator.add]


def _prepare(state: Asked) -> Asked:
    return {"answers": ["prepared"]}


def _ask(state: Asked) -> Asked:
    return {"answers": [interrupt({"question": f"May I {state['topic']}?"})]}


def _finish(state: Asked) -> Asked:
    return {"answers": ["finished"]}


approval = (
    StateGraph(Asked)
    .add_sequence([("prepare", _prepare), ("ask", _ask), ("finish", _finish)])
    .add_edge(START, "prepare")
    .compile()
)


def _ask_twice(state: Asked) -> Asked:
    return {"answers": [interrupt("first"), interrupt("second")]}


twice = StateGraph(Asked).add_node("ask_twice", _ask_twice).add_edge(START, "ask_twice").compile()


def _left(state: Asked) -> Asked:
    return {"answers": [f"left: {interrupt('left')}"]}


def _right(state: Asked) -> Asked:
    return {"answers": [f"right: {interrupt('right')}"]}


several = (
    StateGraph(Asked).add_node("left", _left).add_node("right", _right).add_edge(START, "left").add_edge(START, "right")
).compile()
