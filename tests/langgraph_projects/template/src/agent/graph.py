"""One node, which reads a parameter of the runtime's context."""

from dataclasses import dataclass
from typing import Any, TypedDict

from langgraph.graph import StateGraph
from langgraph.runtime import Runtime


class Context(TypedDict, total=False):
    my_configurable_param: str


@dataclass
class State:
    changeme: str = "example"


async def call_model(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    parameter = (runtime.context or {}).get("my_configurable_param")
    return {"changeme": f"output from call_model. Configured with {parameter}"}


graph = (
    StateGraph(State, context_schema=Context)
    .add_node(call_model)
    .add_edge("__start__", "call_model")
    .compile(name="New Graph")
)
