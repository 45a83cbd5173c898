"""A factory: called for each run, with the assistant's configuration and the models of the service."""

from typing import Any

from langchain_core.messages import SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph

from project4_agent_api.agents.services import Services


def make_poet(config: RunnableConfig, services: Services) -> StateGraph[Any, Any, Any, Any]:
    """Create a graph that writes verse in the style `config["configurable"]["style"]`."""
    style = config.get("configurable", {}).get("style", "plain")
    model = services.chat_models[0]

    async def write(state: MessagesState) -> dict[str, Any]:
        instruction = SystemMessage(f"Write two lines of verse about what the user says, in a {style} style.")
        return {"messages": [await model.ainvoke([instruction, *state["messages"]])]}

    builder = StateGraph(MessagesState)
    builder.add_node("write", write)
    builder.add_edge(START, "write")
    return builder
