"""A memory agent whose store embeds texts with a function of its own."""

from typing import TypedDict

from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore

WORDS = ("cat", "car", "sun")


async def embed(texts: list[str]) -> list[list[float]]:
    return [[0.1 + text.count(word) for word in WORDS] for text in texts]


class State(TypedDict, total=False):
    note: str
    question: str
    found: str


async def remember(state: State, *, store: BaseStore) -> State:
    if "note" in state:
        await store.aput(("memories",), state["note"], {"text": state["note"], "other": "cat cat cat"})
    found = await store.asearch(("memories",), query=state.get("question", state.get("note")), limit=1)
    return {"found": found[0].value["text"] if found else ""}


graph = StateGraph(State).add_node("remember", remember).add_edge(START, "remember").compile()
