"""A graph with the requested number of steps, each of which takes some time and is recorded in a file."""

import asyncio
import os
from operator import add
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    """The requested steps, and the executed ones."""

    steps: int
    seconds: float
    log: str
    done: Annotated[list[int], add]


async def step(state: State) -> State:
    """Take a step."""
    number = len(state.get("done", []))
    get_stream_writer()({"step": number})
    with Path(state["log"]).open("a") as log:  # noqa: ASYNC230  it takes no time
        log.write(f"{number} {os.getpid()}\n")
    await asyncio.sleep(state["seconds"])
    return {"done": [number]}


def go_on(state: State) -> Literal["step", "__end__"]:
    """Say whether there is another one."""
    return "step" if len(state["done"]) < state["steps"] else "__end__"


graph = StateGraph(State).add_node("step", step).add_edge(START, "step").add_conditional_edges("step", go_on).compile()
