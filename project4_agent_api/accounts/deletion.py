"""What belongs to an account besides the account: it goes with it.

It is removed piece by piece, each in a transaction of its own, because all of it may be more than one statement has
time for. The account goes last: so whatever ends it in between, it can be asked for again. Before it go the memories:
a run that is still executed may write one until its worker hears that it is stopped.

What was asked for before may come meanwhile: an upload that was let in, a thread that an API key makes. So a job looks
once more when nothing can come any more.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Request
from loguru import logger
from procrastinate import App, JobContext
from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.datastructures import State

from project2_user_mgmt.models import User
from project3_rag_docs import documents
from project4_agent_api.core.history import RedisHistory
from project4_agent_api.models import Assistant, Cron, DocumentVersion, IdempotencyKey, Webhook
from project4_agent_api.threads.service import Threads
from shared.database.engine import Sessions, transaction
from shared.errors import DatabaseUnavailable, NotFound, RedisUnavailable
from shared.jobs.queue import TryAgain, add_tasks, defer

_AT_ONCE = 50
_LATER_SECONDS = 15 * 60  # longer than any request that was let in before takes
_AGAIN_SECONDS = 30.0


@dataclass(frozen=True)
class Belongings:
    """Removes what belongs to an account.

    Attributes:
        sessions: Of the database.
        threads: All threads.
        jobs: Removes the rows of documents, later.
        history: The last exchanges.
    """

    sessions: Sessions
    threads: Threads
    jobs: App
    history: RedisHistory

    @classmethod
    def of(cls, state: State) -> "Belongings":
        """Make one of what a process has opened."""
        return cls(state.sessions, state.threads, state.jobs, state.history)

    async def is_there(self, owner_id: UUID) -> bool:
        """Say whether there is such an account."""
        async with transaction(self.sessions) as session:
            return await session.get(User, owner_id) is not None

    async def remove_later(self, session: AsyncSession, owner_id: UUID) -> None:
        """Let a job remove what is there in a while, if the account is gone then."""
        name = str(owner_id)
        await defer(self.jobs, session, _TASK, lock=f"account {name}", in_seconds=_LATER_SECONDS, owner_id=name)

    async def remove(self, owner_id: UUID) -> None:
        """Remove documents, threads with their runs and webhooks, schedules, assistants, the history and memories.

        Raises:
            RedisUnavailable: if Redis is away.
        """
        while await self._remove_some_documents(owner_id) or await self.threads.delete_some(owner_id, _AT_ONCE):
            pass
        async with transaction(self.sessions) as session:
            await session.execute(delete(Webhook).where(col(Webhook.owner_id) == owner_id))
            await session.execute(delete(Cron).where(col(Cron.owner_id) == owner_id))
            await session.execute(delete(Assistant).where(col(Assistant.owner_id) == owner_id))
            await session.execute(delete(DocumentVersion).where(col(DocumentVersion.owner_id) == owner_id))
            await session.execute(delete(IdempotencyKey).where(col(IdempotencyKey.owner_id) == owner_id))
        await self.history.forget(owner_id)
        async with transaction(self.sessions) as session:
            await session.execute(_DELETE_MEMORIES, {"owner": str(owner_id)})

    async def _remove_some_documents(self, owner_id: UUID) -> bool:
        async with transaction(self.sessions) as session:
            some = await documents.list_documents(session, owner_id, before=None, limit=_AT_ONCE)
            for document in some:
                with suppress(NotFound):  # somebody else was faster
                    await documents.delete_document(self.jobs, session, owner_id, document.id)
        return bool(some)


# A namespace of the store begins with its owner, and LangGraph writes one as `owner.and.so.on`.
_DELETE_MEMORIES = text("DELETE FROM store WHERE prefix = :owner OR starts_with(prefix, :owner || '.')")


async def get_belongings(request: Request) -> Belongings:
    """Return what removes belongings."""
    return Belongings.of(request.app.state)


BelongingsDep = Annotated[Belongings, Depends(get_belongings)]


async def user_changes(request: Request) -> AsyncIterator[None]:
    """Where stage 2's routes change or delete a user, let no process trust what it remembers of the account."""
    try:
        yield
    finally:
        user_id = request.path_params.get("user_id")
        if request.method in ("PATCH", "DELETE") and user_id is not None:
            with suppress(ValueError):
                await request.app.state.known_accounts.changed(UUID(user_id))


async def with_the_user(request: Request, belongings: BelongingsDep) -> None:
    """Where a user is deleted by stage 2's routes, remove what stages 3 and 4 keep of theirs."""
    user_id = request.path_params.get("user_id")
    if request.method == "DELETE" and user_id is not None:
        with suppress(ValueError):  # the route will say that it is no id
            owner_id = UUID(user_id)
            if not await belongings.is_there(owner_id):
                return  # the route will say so too
            await belongings.remove(owner_id)
            async with transaction(belongings.sessions) as session:
                await belongings.remove_later(session, owner_id)


_TASK = "remove_belongings"


@asynccontextmanager
async def removed_later(app: FastAPI) -> AsyncIterator[None]:
    """Remove in this process what came while an account was deleted."""

    async def remove_belongings(context: JobContext, owner_id: str) -> None:
        """Remove what belongs to an account that is gone."""
        del context
        if not hasattr(app.state, "threads"):  # the process is starting
            raise TryAgain(_AGAIN_SECONDS)
        belongings = Belongings.of(app.state)
        try:
            if await belongings.is_there(UUID(owner_id)):
                logger.warning("account {} was to be deleted, and is there: it keeps what it has", owner_id)
                return
            await belongings.remove(UUID(owner_id))
        except (DatabaseUnavailable, RedisUnavailable):
            raise TryAgain(_AGAIN_SECONDS) from None

    add_tasks(app.state.jobs, {_TASK: remove_belongings})
    yield
