"""Repeats the last message, and the number of messages."""

from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


async def reply(state: MessagesState) -> dict[str, Any]:
    """Answer."""
    return {"messages": [AIMessage(f"{len(state['messages'])}: {state['messages'][-1].text}")]}


graph = StateGraph(MessagesState).add_node("reply", reply).add_edge(START, "reply").compile()
