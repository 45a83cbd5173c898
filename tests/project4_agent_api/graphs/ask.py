"""Asks its user, and says what the answer was."""

from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt


async def ask(state: MessagesState) -> dict[str, Any]:
    """Ask."""
    answer = interrupt({"question": state["messages"][-1].text})
    return {"messages": [AIMessage(f"You said {answer}.")]}


graph = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
