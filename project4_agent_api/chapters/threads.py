"""Chapter 4.2: threads. `make run-project4 CHAPTER=threads` runs it.

A conversation is a thread now: a row with an owner, and checkpoints in PostgreSQL. It survives a restart, has a history
that can be read, copied and continued from any point, and approvals that permit one execution each. The graph still
runs within the request.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from fastapi import FastAPI
from langchain_core.runnables import RunnableConfig

from project4_agent_api.accounts.deletion import AccountData
from project4_agent_api.accounts.guards import Authenticated
from project4_agent_api.chapters import ChapterSettings, conversations
from project4_agent_api.chapters import assistants as chapter4_1
from project4_agent_api.chapters.accounts import run_jobs
from project4_agent_api.chapters.conversations import Conversations, Graph, add_conversations
from project4_agent_api.core.state import find
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.store.service import SharedStore
from project4_agent_api.threads import routes as threads
from project4_agent_api.threads.schemas import ThreadCreate
from project4_agent_api.threads.service import Threads
from shared.serve import serve

ROUTERS = [*chapter4_1.ROUTERS, Authenticated(threads.router)]
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
        new = ThreadCreate(thread_id=thread_id, metadata={"graph_id": _GRAPH}, if_exists="do_nothing")
        await self.threads.create(owner_id, new)
        async with super().opened(owner_id, thread_id) as opened:
            try:
                yield opened
            finally:
                await self.threads.states.refresh(owner_id, thread_id)

    def key(self, owner_id: UUID, thread_id: UUID) -> str:
        """Return the thread's id. The row says who owns it."""
        del owner_id
        return str(thread_id)


@asynccontextmanager
async def open_conversations(app: FastAPI) -> AsyncIterator[None]:
    """Create conversations with stored checkpoints."""

    def open_graph(owner_id: UUID) -> AbstractAsyncContextManager[Graph]:
        memories, checkpoints = find(app, SharedStore).for_owner(owner_id), find(app, CheckpointSaver)
        return find(app, Graphs).open(_GRAPH, {"configurable": {}}, checkpointer=checkpoints, store=memories)

    add_conversations(app, ThreadConversations(open_graph=open_graph, threads=find(app, Threads)))
    async with run_jobs(app, find(app, AccountData)):
        yield


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 4.1 with threads."""
    return chapter4_1.build_chapter(
        settings,
        "4.2: threads",
        "Conversations that are stored, with their history.",
        routers=[*ROUTERS, Authenticated(conversations.router)],
        resources=[open_conversations],
    )


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
