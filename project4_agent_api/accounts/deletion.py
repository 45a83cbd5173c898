"""Deletion of an account's data: documents, threads, schedules, assistants, memories and history.

The data is deleted in pieces, each in its own transaction, because all of it may exceed the time limit of a statement.
The user's row goes last, so that an interrupted deletion can be requested again. The memories go last of the data: a
run that is still executing may write one until its worker learns that it was cancelled.

A request that was accepted earlier may still add data: an upload, or a thread created with an API key. A job therefore
deletes once more when no such request can be in progress.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from loguru import logger
from procrastinate import App, JobContext
from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project2_user_mgmt.models import User
from project3_rag_docs import documents
from project3_rag_docs.models import Collection
from project4_agent_api.core.history import RedisHistory
from project4_agent_api.core.model_usage import forget_usage
from project4_agent_api.core.postgres import connected
from project4_agent_api.core.state import from_state
from project4_agent_api.core.storage import forget_owner
from project4_agent_api.models import Assistant, Cron, DocumentVersion, IdempotencyKey, Webhook, WebhookSecret
from project4_agent_api.threads.service import Threads
from shared.database.engine import Sessions, transaction
from shared.errors import DatabaseUnavailable, NotFound, RedisUnavailable
from shared.jobs.queue import RetryLater, defer

_BATCH = 50
_CLEANUP_SECONDS = 15 * 60  # longer than any request that was accepted before the deletion
_RETRY_SECONDS = 30.0
_TASK = "remove_belongings"


@dataclass(frozen=True)
class AccountData:
    """The data that stages 3 and 4 store for accounts, and how to delete it."""

    sessions: Sessions
    threads: Threads
    jobs: App
    history: RedisHistory

    async def account_exists(self, owner_id: UUID) -> bool:
        """Return whether the account exists."""
        async with transaction(self.sessions) as session:
            return await session.get(User, owner_id) is not None

    async def delete(self, owner_id: UUID) -> None:
        """Delete documents, threads with their runs and webhooks, schedules, assistants, history and memories.

        Raises:
            RedisUnavailable: if Redis is unavailable.
        """
        while await self._delete_some_documents(owner_id) or await self.threads.delete_batch(owner_id, _BATCH):
            pass
        async with transaction(self.sessions) as session:
            await session.execute(delete(Collection).where(col(Collection.owner_id) == owner_id))
            await session.execute(delete(Webhook).where(col(Webhook.owner_id) == owner_id))
            await session.execute(delete(Cron).where(col(Cron.owner_id) == owner_id))
            await session.execute(delete(Assistant).where(col(Assistant.owner_id) == owner_id))
            await session.execute(delete(DocumentVersion).where(col(DocumentVersion.owner_id) == owner_id))
            await session.execute(delete(IdempotencyKey).where(col(IdempotencyKey.owner_id) == owner_id))
            await session.execute(delete(WebhookSecret).where(col(WebhookSecret.user_id) == owner_id))
        await self.history.delete(owner_id)
        async with transaction(self.sessions) as session:
            await session.execute(_DELETE_MEMORIES, {"owner": str(owner_id)})
        async with connected(self.threads.pool) as connection, connection.transaction():
            await forget_owner(connection, owner_id)
            await forget_usage(connection, owner_id)

    async def delete_later(self, session: AsyncSession, owner_id: UUID) -> None:
        """Defer a job that deletes later additions, if the account has been deleted by then."""
        owner = str(owner_id)
        await defer(self.jobs, session, _TASK, lock=f"account {owner}", delay_seconds=_CLEANUP_SECONDS, owner_id=owner)

    async def before_user_deletion(self, user_id: UUID) -> None:
        """Delete the data of a user whom stage 2 is about to delete. It subscribes to `UserHooks.on_user_deleted`."""
        if not await self.account_exists(user_id):
            return  # stage 2 answers 404
        await self.delete(user_id)
        async with transaction(self.sessions) as session:
            await self.delete_later(session, user_id)

    async def _delete_some_documents(self, owner_id: UUID) -> bool:
        async with transaction(self.sessions) as session:
            batch = await documents.list_documents(session, owner_id, before=None, limit=_BATCH)
            for document in batch:
                with suppress(NotFound):  # deleted by a concurrent request
                    await documents.delete_document(self.jobs, session, owner_id, document.public_id)
        return bool(batch)


# A namespace of the store begins with its owner, and LangGraph writes it as `owner.and.so.on`.
_DELETE_MEMORIES = text("DELETE FROM store WHERE prefix = :owner OR starts_with(prefix, :owner || '.')")

AccountDataDep = Annotated[AccountData, Depends(from_state(AccountData))]


async def remove_belongings(context: JobContext, owner_id: str) -> None:
    """Delete data that was added while its account was being deleted."""
    account_data: AccountData = context.additional_context["account_data"]
    try:
        if await account_data.account_exists(UUID(owner_id)):
            logger.warning("account {} still exists after its deletion was requested; its data is kept", owner_id)
            return
        await account_data.delete(UUID(owner_id))
    except (DatabaseUnavailable, RedisUnavailable):
        raise RetryLater(_RETRY_SECONDS) from None


TASKS = {_TASK: remove_belongings}
