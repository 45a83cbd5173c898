from dataclasses import dataclass, field

from langgraph.graph import START, StateGraph
from shared.state import Docs

from shared import retrieval


@dataclass
class IndexState:
    docs: Docs = field(default_factory=list)


async def index(state: IndexState) -> dict:
    await retrieval.add(state.docs)
    return {"docs": "delete"}


graph = StateGraph(IndexState).add_node(index).add_edge(START, "index").compile(name="IndexGraph")
