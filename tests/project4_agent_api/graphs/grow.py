"""A graph that stores another random text in each of its steps."""

import secrets
from typing import Literal, TypedDict

from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    """The steps that are left, and the size of the text."""

    steps: int
    size: int
    text: bytes


async def grow(state: State) -> State:
    """Replace the text."""
    return {"text": secrets.token_bytes(state["size"]), "steps": state["steps"] - 1}


def next_node(state: State) -> Literal["grow", "__end__"]:
    """Continue while steps are left."""
    return "grow" if state["steps"] else "__end__"


graph = StateGraph(State).add_node(grow).add_edge(START, "grow").add_conditional_edges("grow", next_node).compile()
