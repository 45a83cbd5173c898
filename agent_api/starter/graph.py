"""A chat: one node that answers the thread's messages.

Without a model it repeats what you say, so that you can try it before you have a key.
"""

import os

from langchain.chat_models import init_chat_model
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.graph import END, START, MessagesState, StateGraph

PROMPT = "You are a helpful assistant. Answer briefly, in the language of the user."


async def answer(state: MessagesState) -> dict[str, list[AIMessage]]:
    """Answer the last message of the thread."""
    messages = state["messages"]
    name = os.environ.get("MODEL")  # such as openai:gpt-4.1-mini, in .env
    if name:
        return {"messages": [await init_chat_model(name).ainvoke([SystemMessage(PROMPT), *messages])]}
    number = sum(isinstance(message, HumanMessage) for message in messages)
    return {"messages": [AIMessage(f"You said: {messages[-1].text} (message {number} of this thread)")]}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
builder.add_edge("answer", END)
graph = builder.compile()
