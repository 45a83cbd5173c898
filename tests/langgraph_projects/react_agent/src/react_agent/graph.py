"""A loop of a model and its tools."""

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph
from langgraph.prebuilt import ToolNode

from react_agent.models import load_model
from react_agent.state import State
from react_agent.tools import TOOLS


async def call_model(state: State, config: RunnableConfig) -> dict:
    model = load_model(config).bind_tools(TOOLS)
    return {"messages": [await model.ainvoke(state["messages"], config)]}


def route(state: State) -> str:
    last = state["messages"][-1]
    return "tools" if isinstance(last, AIMessage) and last.tool_calls else "__end__"


builder = StateGraph(State)
builder.add_node("call_model", call_model)
builder.add_node("tools", ToolNode(TOOLS))
builder.add_edge("__start__", "call_model")
builder.add_conditional_edges("call_model", route)
builder.add_edge("tools", "call_model")
graph = builder.compile(name="ReAct Agent")
