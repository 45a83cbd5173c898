"""The graph of stage 4's benchmark: two nodes, fifty custom events, one message, no waiting."""

from typing import Any

from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph

EVENTS = 50


async def emit(state: MessagesState) -> dict[str, Any]:
    """Emit fifty custom events."""
    del state
    write = get_stream_writer()
    for number in range(EVENTS):
        write({"number": number})
    return {}


async def reply(state: MessagesState) -> dict[str, Any]:
    """Echo the last message."""
    return {"messages": [AIMessage(f"Echo: {state['messages'][-1].text}")]}


builder = StateGraph(MessagesState)
builder.add_node("emit", emit)
builder.add_node("reply", reply)
builder.add_edge(START, "emit")
builder.add_edge("emit", "reply")
builder.add_edge("reply", END)
graph = builder.compile()
