"""Build a state graph of three nodes, with a reducer and a loop: write, review, publish."""

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph

MAX_DRAFTS = 3


class State(TypedDict, total=False):
    """The state that the nodes share."""

    topic: str
    draft: str
    approved: bool
    published: str
    notes: Annotated[list[str], operator.add]
    drafts: Annotated[int, operator.add]


def after_review(state: State) -> str:
    """Return the next node: "publish" if approved or after MAX_DRAFTS drafts, otherwise "write"."""
    return "publish" if state["approved"] or state["drafts"] >= MAX_DRAFTS else "write"


def build_graph(write: Callable[[State], str], approve: Callable[[State], bool]) -> Any:
    """Return the compiled graph: write → review → (write again or publish)."""

    def write_node(state: State) -> State:
        return {"draft": write(state), "drafts": 1, "notes": ["written"]}

    def review_node(state: State) -> State:
        approved = approve(state)
        return {"approved": approved, "notes": ["approved" if approved else "rejected"]}

    def publish_node(state: State) -> State:
        return {"published": state["draft"], "notes": ["published"]}

    graph = StateGraph(State)
    graph.add_node("write", write_node)
    graph.add_node("review", review_node)
    graph.add_node("publish", publish_node)
    graph.add_edge(START, "write")
    graph.add_edge("write", "review")
    graph.add_conditional_edges("review", after_review, ["write", "publish"])
    graph.add_edge("publish", END)
    return graph.compile()
