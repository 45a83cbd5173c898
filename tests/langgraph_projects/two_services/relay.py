"""A graph that asks another service for its user's name, as that user."""

import os
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph.runtime import Runtime
from langgraph_sdk import get_client


class State(TypedDict, total=False):
    name: str


async def ask(state: State, config: RunnableConfig) -> dict[str, Any]:
    user = config["configurable"]["langgraph_auth_user"]
    async with get_client(url=os.environ["OTHER_SERVICE"], api_key=None) as client:
        remote = RemoteGraph("back", client=client)
        return await remote.ainvoke({}, headers={"Authorization": user["authorization"]})


async def tell(state: State, runtime: Runtime) -> State:
    assert runtime.server_info
    assert runtime.server_info.user
    return {"name": runtime.server_info.user.identity}


front = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()
back = StateGraph(State).add_node("tell", tell).add_edge(START, "tell").compile()
