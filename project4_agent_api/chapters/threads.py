"""Chapter 4.2: threads. `make run-project4 CHAPTER=threads` runs it.

A conversation is a thread now: a row with an owner, and checkpoints in PostgreSQL. It survives a restart, has a history
that can be read, copied and continued from any point, and approvals that permit one execution each. The graph still
runs within the request.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from fastapi import FastAPI
from langchain_core.runnables import RunnableConfig

from project3_rag_docs import main as stage3
from project3_rag_docs.routes import documents
from project4_agent_api.accounts.deletion import AccountData
from project4_agent_api.accounts.guards import Authenticated
from project4_agent_api.agents.agent import make_agent
from project4_agent_api.agents.grants import Grants
from project4_agent_api.assistants.service import Assistants
from project4_agent_api.chapters import ChapterSettings, conversations
from project4_agent_api.chapters import assistants as chapter4_1
from project4_agent_api.chapters.accounts import EARLIER_RESOURCES, PANELS, serving_accounts
from project4_agent_api.chapters.agents import agent_services
from project4_agent_api.chapters.conversations import Conversations, Graph
from project4_agent_api.chapters.limits import open_guarded
from project4_agent_api.core.idempotency import describe
from project4_agent_api.core.state import publish
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.store.service import SharedStore
from project4_agent_api.threads import routes as threads
from project4_agent_api.threads.schemas import ThreadCreate
from project4_agent_api.threads.service import Threads
from project4_agent_api.threads.state import ThreadStates
from shared.app import build_app
from shared.serve import serve

_GRAPH = "agent"


@dataclass(frozen=True, kw_only=True)
class ThreadConversations(Conversations):
    """Conversations on stored threads."""

    threads: Threads

    @asynccontextmanager
    async def opened(self, owner_id: UUID, thread_id: UUID) -> AsyncIterator[tuple[Graph, RunnableConfig]]:
        """Create the thread if it is new, and copy its newest state to its row at the end.

        Raises:
            Conflict: if somebody else uses the thread, or it is another user's.
        """
        metadata = {"graph_id": _GRAPH}
        await self.threads.create(
            owner_id, ThreadCreate(thread_id=thread_id, metadata=metadata, if_exists="do_nothing")
        )
        async with super().opened(owner_id, thread_id) as opened:
            try:
                yield opened
            finally:
                await self.threads.states.refresh(owner_id, thread_id)

    def key(self, owner_id: UUID, thread_id: UUID) -> str:
        """Return the thread's id. The row says who owns it."""
        del owner_id
        return str(thread_id)


@dataclass(frozen=True, kw_only=True)
class State(chapter4_1.State):
    """The state of the process."""

    threads: Threads


@asynccontextmanager
async def open_threads(app: FastAPI) -> AsyncIterator[None]:
    """Create the parts of this chapter."""
    settings: ChapterSettings = app.state.settings
    async with AsyncExitStack() as stack:
        guarded = await open_guarded(app, stack)
        services = await agent_services(app, Grants(guarded.pool))
        graphs = await Graphs.load(settings.langgraph_config, services)
        assistants = Assistants({name: graphs.description(name) for name in graphs.names()})
        store = SharedStore(guarded.pool, settings, guarded.caches.embeddings)
        checkpoints = CheckpointSaver(guarded.pool)
        states = ThreadStates(guarded.pool, checkpoints, graphs, store, guarded.redis)
        stored_threads = Threads(guarded.pool, states, guarded.redis, settings.run_events_seconds)
        assistants.delete_threads = stored_threads.delete_of_assistant
        state = State(
            **vars(guarded),
            graphs=graphs,
            assistants=assistants,
            store=store,
            threads=stored_threads,
            account_data=AccountData(app.state.sessions, stored_threads, app.state.jobs, guarded.history),
            conversations=ThreadConversations(
                graph=make_agent(services), checkpoints=checkpoints, open_store=store.for_owner, threads=stored_threads
            ),
        )
        publish(app, state)
        await stack.enter_async_context(serving_accounts(app, state.account_data))
        yield


ROUTERS = [*chapter4_1.ROUTERS, Authenticated(threads.router)]


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 4.1 with threads."""
    return build_app(
        settings,
        title="Project 4, chapter 4.2: threads",
        description="Conversations that are stored, with their history.",
        routers=[*ROUTERS, Authenticated(conversations.router)],
        resources=[*EARLIER_RESOURCES, open_threads],
        panels=PANELS if settings.auth_required else stage3.PANELS,
        body_limits={documents.PATH: settings.max_upload_bytes + stage3.FORM_OVERHEAD_BYTES},
        extend_openapi=describe,
    )


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
