"""The repository of versions: replace a document, and list its earlier versions."""

from collections.abc import Sequence
from uuid import UUID

from procrastinate import App
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project3_rag_docs import documents
from project3_rag_docs.ingestion.publishing import defer_purge, lock_versions
from project3_rag_docs.ingestion.upload import Upload
from project3_rag_docs.models import Document, PastVersion, Status
from project3_rag_docs.search import index
from shared.errors import Conflict


async def add_version(
    jobs: App, session: AsyncSession, owner_id: UUID, document_id: UUID, upload: Upload, at_once: int
) -> tuple[Document, bool]:
    """Store a file that replaces a document as soon as it is ready, and the job that ingests it.

    An earlier one that is not ready yet is discarded.

    Returns:
        The version with this content, and whether its ingestion was started.

    Raises:
        NotFound: if there is no such document.
        Conflict: if another document of the owner has the same content.
    """
    await lock_versions(session, document_id)
    current = await documents.get_document(session, owner_id, document_id, lock=True)
    waiting = await documents.get_latest(session, owner_id, document_id)
    if waiting.sha256 == upload.sha256:
        return waiting, await documents.retry_failed(jobs, session, waiting, at_once)
    await discard_new_version(jobs, session, owner_id, document_id)
    if current.sha256 == upload.sha256:
        return current, await documents.retry_failed(jobs, session, current, at_once)
    version = {"first_id": document_id, "version": current.version + 1, "replaces": True}
    stored = await documents.store(jobs, session, owner_id, upload, at_once, **version)
    if stored is None:
        raise Conflict("You have another document with the same content.")
    return stored, True


async def discard_new_version(jobs: App, session: AsyncSession, owner_id: UUID, document_id: UUID) -> None:
    """Delete the version that would replace the current one of a document, if there is one."""
    await lock_versions(session, document_id)
    query = select(Document).where(
        col(Document.public_id) == document_id,
        col(Document.owner_id) == owner_id,
        col(Document.status) != Status.DELETED,
        col(Document.replaces),
    )
    if (waiting := await session.scalar(query.with_for_update())) is not None:
        await index.mark_deleted(session, waiting)
        await defer_purge(jobs, session, waiting)
        await session.flush()


async def list_versions(
    session: AsyncSession, owner_id: UUID, document_id: UUID
) -> tuple[Sequence[Document], Sequence[PastVersion]]:
    """Return the versions of a document that exist, and those that were replaced, newest first.

    Raises:
        NotFound: if there is no such document.
    """
    current = await documents.get_document(session, owner_id, document_id)
    latest = await documents.get_latest(session, owner_id, document_id)
    query = select(PastVersion).where(col(PastVersion.public_id) == document_id)
    past = (await session.scalars(query.order_by(col(PastVersion.version).desc()))).all()
    return [latest, current] if latest.replaces else [current], past


async def new_versions(session: AsyncSession, document_ids: Sequence[UUID]) -> dict[UUID, Status]:
    """Return the status of the versions that will replace some documents, by document."""
    query = select(col(Document.public_id), col(Document.status)).where(
        col(Document.public_id).in_(document_ids), col(Document.replaces), col(Document.status) != Status.DELETED
    )
    return {document_id: Status(status) for document_id, status in await session.execute(query)}
