"""Publish a document: a new one, or a version that replaces the current one."""

from uuid import UUID

from procrastinate import App
from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project3_rag_docs.models import Document, PastVersion, Status
from project3_rag_docs.search import index
from shared.jobs.queue import defer

MAX_PAST_VERSIONS = 100  # of a document
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:id AS text), 3))")


async def lock_versions(session: AsyncSession, document_id: UUID) -> None:
    """Let nobody else add, publish or delete versions of a document until the transaction ends.

    It comes before the lock of any of their rows, so that two transactions cannot wait for each other.
    """
    await session.execute(_LOCK, {"id": str(document_id)})


async def publish(jobs: App, session: AsyncSession, document: Document) -> None:
    """Make a document searchable. If it replaces a version, that one is no longer found.

    The versions and the document's row must be locked.
    """
    replaced = None
    if document.replaces:
        wanted = (col(Document.public_id) == document.public_id, col(Document.status) != Status.DELETED)
        query = select(Document).where(*wanted, ~col(Document.replaces)).with_for_update()
        replaced = (await session.scalars(query)).one_or_none()
        if replaced is not None:  # otherwise a process of an earlier release has deleted only that version
            for name in ("custom", "tags", "collection_id"):  # the same in all versions of a document
                setattr(document, name, getattr(replaced, name))
            await _remember(session, replaced)
            await defer_purge(jobs, session, replaced)
    await index.publish(session, document, replaced)


async def _remember(session: AsyncSession, replaced: Document) -> None:
    session.add(PastVersion(**{name: getattr(replaced, name) for name in _KEPT}))
    await session.execute(
        delete(PastVersion).where(
            col(PastVersion.public_id) == replaced.public_id,
            col(PastVersion.version) <= replaced.version - MAX_PAST_VERSIONS,
        )
    )


_KEPT = ("public_id", "version", "owner_id", "filename", "media_type", "size_bytes", "sha256", "created_at")


async def defer_purge(jobs: App, session: AsyncSession, document: Document) -> None:
    """Start the job that deletes the rows of a version that is marked as deleted."""
    # Another lock than that of the ingestion, so that a running attempt does not delay the deletion.
    await defer(jobs, session, "purge", lock=f"purge {document.id}", document_id=str(document.id))
