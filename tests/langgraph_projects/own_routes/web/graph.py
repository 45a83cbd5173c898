"""A graph that answers with the headers of the request."""

from typing import TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    headers: dict


def make_graph(config: RunnableConfig) -> StateGraph:
    configurable = config.get("configurable", {})
    headers = {name: value for name, value in configurable.items() if name.startswith(("x-", "user-", "auth", "cook"))}
    return StateGraph(State).add_node("show", lambda state: {"headers": headers}).add_edge(START, "show")
