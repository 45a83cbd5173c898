"""A graph that remembers what its user says, and who that is."""

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime


class State(TypedDict, total=False):
    note: str
    user: dict[str, Any]


async def remember(state: State, config: RunnableConfig, runtime: Runtime) -> State:
    configurable = config["configurable"]
    assert runtime.store
    assert runtime.server_info
    assert runtime.server_info.user
    await runtime.store.aput(("notes",), "last", {"note": state.get("note", "")}, index=False)
    user = {
        "identity": runtime.server_info.user.identity,
        "id": configurable["langgraph_auth_user_id"],
        "team": configurable["langgraph_auth_user"].get("team"),
        "permissions": list(configurable["langgraph_auth_user"]["permissions"]),
    }
    return {"user": user}


graph = StateGraph(State).add_node("remember", remember).add_edge(START, "remember").compile()
