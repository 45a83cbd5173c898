from typing import TypedDict

import shared.retrieval
from langgraph.graph import START, StateGraph
from shared.state import Docs


class Research(TypedDict):
    query: str
    docs: Docs


async def retrieve(state: Research) -> dict:
    return {"docs": await shared.retrieval.search(state["query"])}


graph = StateGraph(Research).add_node(retrieve).add_edge(START, "retrieve").compile()
