"""Services that the process offers to its graphs, and the owner of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool

from project3_rag_docs.answers.chain import Steps
from project4_agent_api.agents.grants import Grants
from project4_agent_api.agents.web.pages import WebPages
from project4_agent_api.settings import Settings


@dataclass(frozen=True)
class Services:
    """Services of the process, passed to every graph factory that has a parameter of this type.

    Attributes:
        chat_models: The model, then its fallbacks in order.
        steps: Stage 3's search and answers.
        grants: Approvals of tool calls.
        mcp_tools: The tools of `MCP_SERVERS`.
    """

    settings: Settings
    chat_models: Sequence[BaseChatModel]
    steps: Steps
    web: WebPages
    grants: Grants
    mcp_tools: Sequence[BaseTool] = ()


def owner_id_of(config: RunnableConfig) -> UUID:
    """Return the owner of a run. The server sets this field, and discards a client's."""
    configurable = config["configurable"]
    return UUID(configurable.get("langgraph_auth_owner_id") or configurable["langgraph_auth_user_id"])
