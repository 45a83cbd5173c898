"""What belongs to an account besides the account: it goes with it.

It is removed piece by piece, each in a transaction of its own, because all of it may be more than one statement has
time for. The account goes last: so whatever ends it in between, it can be asked for again. Before it go the memories:
a run that is still executed may write one until its worker hears that it is stopped.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from procrastinate import App
from sqlalchemy import delete, text
from sqlmodel import col

from project3_rag_docs import documents
from project4_agent_api.history import RedisHistory
from project4_agent_api.models import Assistant, Cron, DocumentVersion, IdempotencyKey, Webhook
from project4_agent_api.threads import Threads
from shared.database import Sessions, transaction
from shared.errors import NotFound

_AT_ONCE = 50


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
    state = request.app.state
    return Belongings(state.sessions, state.threads, state.jobs, state.history)


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
            await belongings.remove(UUID(user_id))
