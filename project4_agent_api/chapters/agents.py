"""Chapter 1: an agent in one process. `make run-project4 CHAPTER=agents` runs it.

The agent is that of the whole stage (`agents/agent.py`), with its tools, approvals and limits. The service around it
is the smallest that works: a request runs the graph (`conversations.py`), and this process's memory keeps everything
else.
"""

import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from fastapi import FastAPI
from langchain.agents.middleware.human_in_the_loop import Action
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import IndexConfig
from langgraph.store.memory import InMemoryStore

from project3_rag_docs import main as stage3
from project4_agent_api.agents.agent import make_agent
from project4_agent_api.agents.grants import Grants
from project4_agent_api.agents.mcp import load_mcp_tools
from project4_agent_api.agents.services import Services
from project4_agent_api.agents.web.pages import WebPages
from project4_agent_api.chapters import OneUser
from project4_agent_api.chapters.conversations import Conversations, Graph, router
from project4_agent_api.core.state import publish
from shared.app import build_app
from shared.models.chat import create_chat_models
from shared.serve import serve
from shared.xray.access import EVERYONE


class MemoryGrants(Grants):
    """Approvals of tool calls in this process's memory. The stage stores them as rows, where no restart loses them."""

    def __init__(self) -> None:
        self._actions: dict[tuple[str, UUID], tuple[Action, bool]] = {}  # each with whether it was used

    async def issue(self, thread_id: str, actions: Mapping[UUID, Action]) -> None:
        """Keep approvals, by their ids."""
        for grant_id, action in actions.items():
            self._actions.setdefault((thread_id, grant_id), (action, False))

    async def claim_question(self, thread_id: str, question_id: UUID, action: Action) -> bool:
        """Return whether a task's question is about this action."""
        return self._actions.setdefault((thread_id, question_id), (action, True))[0] == action

    async def use(self, thread_id: str, grant_id: UUID, action: Action) -> bool:
        """Use an approval up; return whether there was an unused one of this action."""
        if self._actions.get((thread_id, grant_id)) != (action, False):
            return False
        self._actions[thread_id, grant_id] = (action, True)
        return True


async def create_agent(app: FastAPI) -> Graph:
    """Create the agent: its models, stage 3's search, the web, and approvals."""
    settings = app.state.settings
    services = Services(
        settings=settings,
        chat_models=create_chat_models(settings, app.state.model_http),
        steps=app.state.document_answerer.steps,
        web=WebPages(settings.fetch_timeout_seconds, settings.fetch_max_kb * 1024),
        grants=MemoryGrants(),
        mcp_tools=await load_mcp_tools(settings.mcp_servers),
    )
    return make_agent(services)


async def memory_conversations(app: FastAPI) -> Conversations:
    """Create conversations that this process keeps in memory, with memories that are found by meaning."""
    agent, checkpoints = await create_agent(app), InMemorySaver()
    index: IndexConfig = {"embed": app.state.embeddings, "dims": app.state.settings.embedding_dimensions}
    stores: dict[UUID, InMemoryStore] = {}

    @asynccontextmanager
    async def open_graph(owner_id: UUID) -> AsyncIterator[Graph]:
        graph = copy.copy(agent)  # it is shared: the copy has this owner's store
        graph.checkpointer, graph.store = checkpoints, stores.setdefault(owner_id, InMemoryStore(index=index))
        yield graph

    return Conversations(open_graph)


@dataclass(frozen=True)
class State:
    """The state of the process. Routes find its parts by their types: `core/state.py`."""

    conversations: Conversations


@asynccontextmanager
async def open_agent(app: FastAPI) -> AsyncIterator[None]:
    """Create the agent."""
    publish(app, State(await memory_conversations(app)))
    yield


def create_app(settings: OneUser) -> FastAPI:
    """Create the application: stage 3, and a chat with the agent."""
    return build_app(
        settings,
        title="Project 4, chapter 1: an agent in one process",
        description="LangChain's agent loop with tools, approvals and limits, in the memory of one process.",
        routers=[*stage3.ROUTERS, router],
        resources=[*stage3.RESOURCES, open_agent],
        panels=stage3.PANELS,
        xray_access=EVERYONE,
        body_limits=stage3.body_limits(settings),
    )


if __name__ == "__main__":
    serve(OneUser, create_app)
