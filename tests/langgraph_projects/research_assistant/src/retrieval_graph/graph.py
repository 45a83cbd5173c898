from typing import TypedDict

from langgraph.graph import START, StateGraph
from shared.state import Docs

from retrieval_graph.researcher import graph as researcher


class State(TypedDict, total=False):
    query: str
    docs: Docs
    answer: str


def respond(state: State) -> State:
    return {"answer": " / ".join(state["docs"])}


graph = (
    StateGraph(State)
    .add_node("conduct_research", researcher)
    .add_node(respond)
    .add_edge(START, "conduct_research")
    .add_edge("conduct_research", "respond")
    .compile(name="RetrievalGraph")
)
