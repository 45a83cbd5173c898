from typing import TypedDict

from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    said: str


graph = StateGraph(State).add_node("say", lambda state: {"said": "built"}).add_edge(START, "say")
