"""A compiled graph that repeats the user's message word by word: a minimal example of streaming."""

from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph


async def listen(state: MessagesState) -> None:
    """Emit each word as a custom event (stream mode `custom`)."""
    write = get_stream_writer()
    for index, word in enumerate(state["messages"][-1].text.split()):
        write({"place": index, "word": word})


async def repeat(state: MessagesState) -> dict[str, list[AIMessage]]:
    """Return the user's message as the answer."""
    return {"messages": [AIMessage(state["messages"][-1].text)]}


builder = StateGraph(MessagesState)
builder.add_node("listen", listen)
builder.add_node("repeat", repeat)
builder.add_edge(START, "listen")
builder.add_edge("listen", "repeat")
builder.add_edge("repeat", END)
graph = builder.compile()
