"""Tests of the graph, without a model: `pip install pytest`, then `pytest`."""

import asyncio

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

import graph as project


def test_graph_answers_each_message_of_a_thread(monkeypatch):
    monkeypatch.delenv("MODEL", raising=False)
    graph = project.builder.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}

    for number, text in enumerate(["Hello", "Again"], start=1):
        state = asyncio.run(graph.ainvoke({"messages": [HumanMessage(text)]}, config))

        assert state["messages"][-1].text == f"You said: {text} (message {number} of this thread)"
