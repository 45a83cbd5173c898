"""A supervisor that sends topics to researchers, and a writer."""

import operator
from contextlib import contextmanager
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from .configuration import Configuration


class State(TypedDict, total=False):
    topic: str
    findings: Annotated[list[str], operator.add]
    report: str


def supervise(state: State, runtime: Runtime[Configuration]) -> Command:
    breadth = (runtime.context or Configuration()).breadth
    return Command(goto=[Send("research", {"topic": f"{state['topic']} {part}"}) for part in range(breadth)])


async def research(state: State) -> State:
    return {"findings": [f"found {state['topic']}"]}


def write(state: State) -> State:
    return {"report": "; ".join(sorted(state.get("findings", []))) or "nothing"}


builder = StateGraph(State, context_schema=Configuration)
builder.add_node("supervise", supervise, destinations=("research",))
builder.add_node("research", research)
builder.add_node("write", write, defer=True)
builder.add_edge(START, "supervise")
builder.add_edge("research", "write")
builder.add_edge("write", END)
deep_researcher = builder.compile()
OPEN = []


@contextmanager
def make_writer():
    OPEN.append(1)
    yield StateGraph(State).add_node("write", write).add_edge(START, "write")
    OPEN.pop()
