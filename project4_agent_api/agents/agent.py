"""The graph `agent`: LangChain's agent loop, with tools, memory, approval, and an end to every run.

before the model   the limit of calls, then the summary of what is old
the model          the first that answers
after the model    its call is counted, what is unusable mended, too many calls refused, a person asked
the tools          side by side; what goes wrong in one is told to the model
"""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ToolCallLimitMiddleware
from langgraph.graph.state import CompiledStateGraph

from project4_agent_api.agents.middleware import (
    Approval,
    Middleware,
    ModelCallLimit,
    ToolBounds,
    UnusableAnswers,
    tool_errors,
)
from project4_agent_api.agents.services import Services
from project4_agent_api.agents.summarization import summaries
from project4_agent_api.agents.tools import tools_of
from shared.errors import ConfigurationError

DESCRIPTION = (
    "Answers with the help of tools: a calculator, the time, search in your documents, web pages, and a memory of you."
)


def make_agent(services: Services) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Make the graph.

    Raises:
        ConfigurationError: if a tool is to be approved that there is not, or two tools have one name.
    """
    settings = services.settings
    tools = tools_of(services)
    names = [tool.name for tool in tools]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"MCP_SERVERS: there are several tools named {', '.join(sorted(twice))}")
    if unknown := set(settings.agent_approval_tools) - set(names):
        raise ConfigurationError(
            f"AGENT_APPROVAL_TOOLS: there is no tool {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}"
        )
    first, *others = services.chat_models
    # What is done after the model is done from the end of this list to its beginning.
    middleware: list[Middleware] = [
        tool_errors(),
        ToolBounds(settings.agent_tool_timeout_seconds, tokens=settings.agent_context_tokens // 4),
        Approval(settings.agent_approval_tools, names),
        ToolCallLimitMiddleware(run_limit=settings.agent_max_tool_calls),
        UnusableAnswers(),
        ModelCallLimit(settings.agent_max_model_calls),
        summaries(services.chat_models, settings.agent_context_tokens),
        *([ModelFallbackMiddleware(*others)] if others else []),
    ]
    return create_agent(
        first, tools=tools, system_prompt=settings.agent_system_prompt, middleware=middleware, name="agent"
    )
