"""What the built-in graphs need of the process that runs them."""

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool

from project3_rag_docs.answers.chain import Steps
from project4_agent_api.agents.web.pages import WebPages
from project4_agent_api.settings import Settings


@dataclass(frozen=True)
class Services:
    """Made once in a process, and given to every graph factory that has a parameter of this type.

    Attributes:
        settings: The stage's.
        chat_models: The first answers; the others stand in for it, in their order.
        steps: Stage 3's search and answers.
        web: Fetches web pages.
        mcp_tools: Of the servers that the settings name.
    """

    settings: Settings
    chat_models: Sequence[BaseChatModel]
    steps: Steps
    web: WebPages
    mcp_tools: Sequence[BaseTool] = ()
