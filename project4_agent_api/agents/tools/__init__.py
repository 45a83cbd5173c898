"""The agent's tools, one module for each subject."""

from collections.abc import Sequence

from langchain_core.tools import BaseTool

from project4_agent_api.agents.services import Services
from project4_agent_api.agents.tools.calculator import calculator
from project4_agent_api.agents.tools.clock import current_time
from project4_agent_api.agents.tools.documents import search_documents_tool
from project4_agent_api.agents.tools.memory import recall, remember
from project4_agent_api.agents.tools.web_page import fetch_web_page_tool


def agent_tools(services: Services) -> Sequence[BaseTool]:
    """Return the agent's tools: the built-in ones, then those of MCP servers."""
    return [
        calculator,
        current_time,
        search_documents_tool(services.steps),
        fetch_web_page_tool(services.web),
        remember,
        recall,
        *services.mcp_tools,
    ]
