"""A graph in a graph in a graph. The innermost asks a question if its input requests it."""

from typing import Annotated

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict  # typing's own has no schema before Python 3.12


def _with(trail: list[str], more: list[str]) -> list[str]:
    """Append new items only: a subgraph returns its input, too."""
    return trail + [place for place in more if place not in trail]


class Walk(TypedDict, total=False):
    """Whether to ask at the bottom, and the way taken."""

    ask: bool
    trail: Annotated[list[str], _with]


def _bottom(state: Walk) -> Walk:
    if state.get("ask"):
        return {"trail": [interrupt("Which way?")]}
    return {"trail": ["bottom"]}


def _down(state: Walk) -> Walk:
    return {"trail": ["down"]}


def _begin(state: Walk) -> Walk:
    return {"trail": ["begin"]}


_inner = StateGraph(Walk).add_node("bottom", _bottom).add_edge(START, "bottom").compile()
_middle = (
    StateGraph(Walk)
    .add_node("down", _down)
    .add_node("inner", _inner)
    .add_edge(START, "down")
    .add_edge("down", "inner")
    .compile()
)


def _call(state: Walk) -> Walk:
    return {"trail": _inner.invoke(state)["trail"]}


calling = StateGraph(Walk).add_node("call", _call).add_edge(START, "call").compile()
nested = (
    StateGraph(Walk)
    .add_node("begin", _begin)
    .add_node("middle", _middle)
    .add_edge(START, "begin")
    .add_edge("begin", "middle")
    .compile()
)
