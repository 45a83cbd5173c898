"""The graph `agent`: LangChain's agent loop with tools, memory, human approval, and limits that end every run.

before the model   repair the history; check the limit of model calls; summarize old messages
the model          with fallback models, and the client's tools
after the model    repair unusable answers, refuse calls beyond the limit, ask for approval
the tools          concurrently, each counted, and approved if it has to be; a tool's error is reported to the model;
                   a call of a client's tool waits for the client
"""

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langgraph.graph.state import CompiledStateGraph

from project4_agent_api.agents.approval import Approval
from project4_agent_api.agents.client_tools import CallClientTools, ClientToolsContext
from project4_agent_api.agents.fallback import FallbackModels
from project4_agent_api.agents.history import RepairHistory
from project4_agent_api.agents.limits import ModelCallLimit, ToolCallLimit
from project4_agent_api.agents.middleware import Middleware, ToolBounds, UnusableAnswers, tool_errors
from project4_agent_api.agents.services import Services
from project4_agent_api.agents.summarization import summarization_middleware
from project4_agent_api.agents.tools import agent_tools
from shared.errors import ConfigurationError

DESCRIPTION = (
    "Answers with the help of tools: a calculator, the time, search in your documents, web pages, and a memory of you."
)


def make_agent(services: Services) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Create the graph.

    Raises:
        ConfigurationError: if a tool that needs approval does not exist, or two tools have the same name.
    """
    settings = services.settings
    tools = agent_tools(services)
    names = [tool.name for tool in tools]
    _check_names(names, settings.agent_approval_tools)
    first, *others = services.chat_models
    # Hooks after the model run in reverse order.
    middleware: list[Middleware] = [
        RepairHistory(),
        Approval(settings.agent_approval_tools, names, services.grants),
        CallClientTools(),
        ToolCallLimit(settings.agent_max_tool_calls),
        tool_errors(),
        ToolBounds(settings.agent_tool_timeout_seconds, tokens=settings.agent_context_tokens // 4),
        UnusableAnswers(),
        ModelCallLimit(settings.agent_max_model_calls),
        summarization_middleware(services.chat_models, settings.agent_context_tokens),
        FallbackModels(others),
    ]
    return create_agent(
        first,
        tools=tools,
        system_prompt=settings.agent_system_prompt,
        middleware=middleware,
        context_schema=ClientToolsContext,
        name="agent",
    )


def _check_names(names: Sequence[str], approval_tools: Sequence[str]) -> None:
    if duplicates := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"MCP_SERVERS: there are several tools named {', '.join(sorted(duplicates))}")
    if unknown := set(approval_tools) - set(names):
        raise ConfigurationError(
            f"AGENT_APPROVAL_TOOLS: there is no tool {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}"
        )
