"""Chapter 4.1: assistants and memory. `make run-project4 CHAPTER=assistants` runs it.

A registry holds the graphs, also those of a `langgraph.json`. An assistant is a graph with settings of its own, and a
row. The agent's memory is in PostgreSQL, found by meaning, and shown by `/store`.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import cast

from fastapi import FastAPI
from langgraph.checkpoint.memory import InMemorySaver

from project3_rag_docs import main as stage3
from project3_rag_docs.routes import documents
from project4_agent_api.accounts.deletion import AccountData
from project4_agent_api.accounts.guards import Authenticated
from project4_agent_api.agents.agent import make_agent
from project4_agent_api.assistants import routes as assistants
from project4_agent_api.assistants.service import Assistants
from project4_agent_api.chapters import ChapterSettings, conversations
from project4_agent_api.chapters.accounts import EARLIER_RESOURCES, PANELS, NoThreads, serving_accounts
from project4_agent_api.chapters.agents import MemoryGrants, agent_services
from project4_agent_api.chapters.conversations import Conversations
from project4_agent_api.chapters.limits import EARLIER_ROUTERS, Guarded, open_guarded
from project4_agent_api.core.idempotency import describe
from project4_agent_api.core.state import publish
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.store import routes as store
from project4_agent_api.store.service import SharedStore
from project4_agent_api.threads.service import Threads
from shared.app import build_app
from shared.serve import serve


@dataclass(frozen=True, kw_only=True)
class State(Guarded):
    """The state of the process."""

    graphs: Graphs
    assistants: Assistants
    store: SharedStore
    account_data: AccountData
    conversations: Conversations


@asynccontextmanager
async def open_assistants(app: FastAPI) -> AsyncIterator[None]:
    """Create the parts of this chapter."""
    settings: ChapterSettings = app.state.settings
    async with AsyncExitStack() as stack:
        guarded = await open_guarded(app, stack)
        services = await agent_services(app, MemoryGrants())
        graphs = await Graphs.load(settings.langgraph_config, services)
        shared_store = SharedStore(guarded.pool, settings, guarded.caches.embeddings)
        state = State(
            **vars(guarded),
            graphs=graphs,
            assistants=Assistants({name: graphs.description(name) for name in graphs.names()}),
            store=shared_store,
            account_data=AccountData(app.state.sessions, cast("Threads", NoThreads()), app.state.jobs, guarded.history),
            conversations=Conversations(make_agent(services), InMemorySaver(), shared_store.for_owner),
        )
        publish(app, state)
        await stack.enter_async_context(serving_accounts(app, state.account_data))
        yield


ROUTERS = [*EARLIER_ROUTERS, Authenticated(assistants.router), Authenticated(store.router)]


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 3 with assistants and a store."""
    return build_app(
        settings,
        title="Project 4, chapter 4.1: assistants and memory",
        description="Graphs with settings of their own, and long-term memory.",
        routers=[*ROUTERS, Authenticated(conversations.router)],
        resources=[*EARLIER_RESOURCES, open_assistants],
        panels=PANELS if settings.auth_required else stage3.PANELS,
        body_limits={documents.PATH: settings.max_upload_bytes + stage3.FORM_OVERHEAD_BYTES},
        extend_openapi=describe,
    )


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
