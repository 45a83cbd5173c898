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
    # TODO: each node returns a list of one note; give `notes` a reducer that appends it
    #       每个节点返回只含一条 note 的列表；给 notes 加一个把它追加到末尾的 reducer
    notes: list[str]
    # TODO: likewise, let the numbers that `write` returns add up
    #       同样，让 write 返回的数字累加
    drafts: int


def after_review(state: State) -> str:
    """Return the next node: "publish" if approved or after MAX_DRAFTS drafts, otherwise "write"."""
    # TODO: choose by `approved` and `drafts`
    #       根据 approved 和 drafts 选择下一个节点
    return "publish"


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
    # TODO: the other nodes, the edges, and the conditional edge after "review"
    #       其余节点、边，以及 review 之后的条件边
    graph.add_edge(START, "write")
    graph.add_edge("write", END)
    return graph.compile()
