"""A compiled graph that repeats what it is told, word by word: the smallest that streams."""

from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph


async def listen(state: MessagesState) -> None:
    """Emit each word as a custom event (stream mode `custom`)."""
    write = get_stream_writer()
    for place, word in enumerate(state["messages"][-1].text.split()):
        write({"place": place, "word": word})


async def repeat(state: MessagesState) -> dict[str, list[AIMessage]]:
    """Say it again."""
    return {"messages": [AIMessage(state["messages"][-1].text)]}


builder = StateGraph(MessagesState)
builder.add_node("listen", listen)
builder.add_node("repeat", repeat)
builder.add_edge(START, "listen")
builder.add_edge("listen", "repeat")
builder.add_edge("repeat", END)
graph = builder.compile()
