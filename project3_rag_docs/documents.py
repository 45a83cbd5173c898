"""Documents in the database: the statements behind the routes, without HTTP."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from procrastinate import App
from sqlalchemy import func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project3_rag_docs.ingestion.job import CHANNEL
from project3_rag_docs.ingestion.upload import Upload
from project3_rag_docs.models import Chunk, Document, DocumentPart, Status
from project3_rag_docs.search import index
from shared.errors import NotFound
from shared.jobs.notifications import notify
from shared.jobs.queue import defer

_NO_SUCH_DOCUMENT = "There is no document with this id."


async def add_document(jobs: App, session: AsyncSession, owner_id: UUID, upload: Upload) -> tuple[Document, bool]:
    """Store a file and the job that reads it; or find the document that has this content already.

    Returns:
        The document; and whether there is work to do, because it is new or had failed.
    """
    while True:
        new = Document(
            owner_id=owner_id,
            filename=upload.filename,
            media_type=upload.media_type,
            size_bytes=upload.size,
            sha256=upload.sha256,
        )
        stored = await session.scalar(
            upsert(Document)
            .values(new.model_dump(exclude={"number"}))
            .on_conflict_do_nothing(
                index_elements=["owner_id", "sha256"],
                # As a literal: a prepared statement's parameter would not be known to be the index's own condition.
                index_where=text("status <> 'deleted'"),
            )
            .returning(Document)
        )
        if stored is not None:
            await _store_parts(session, stored.id, upload)
            await _start(jobs, session, stored)
            return stored, True
        there = await session.scalar(
            select(Document)
            .where(
                col(Document.owner_id) == owner_id,
                col(Document.sha256) == upload.sha256,
                col(Document.status) != Status.DELETED,
            )
            .with_for_update()
        )
        if there is None:
            continue  # it was deleted between the two statements
        if there.status != Status.FAILED:
            return there, False
        there.status, there.error = Status.PROCESSING, None
        await _start(jobs, session, there)
        return there, True


async def _store_parts(session: AsyncSession, document_id: UUID, upload: Upload) -> None:
    parts = upload.parts()
    number = 0
    while part := await asyncio.to_thread(next, parts, b""):  # the file may be on a disk
        await session.execute(insert(DocumentPart).values(document_id=document_id, index=number, data=part))
        number += 1


async def _start(jobs: App, session: AsyncSession, document: Document) -> None:
    await defer(jobs, session, "ingest", lock=str(document.id), document_id=str(document.id))


async def get_document(session: AsyncSession, owner_id: UUID, document_id: UUID, *, lock: bool = False) -> Document:
    """Return a document.

    Args:
        session: For the query.
        owner_id: Whose it must be.
        document_id: Which.
        lock: Whether it is going to be changed.

    Raises:
        NotFound: if there is none, or it is somebody else's.
    """
    query = select(Document).where(
        col(Document.id) == document_id,
        col(Document.owner_id) == owner_id,
        col(Document.status) != Status.DELETED,
    )
    document: Document | None = await session.scalar(query.with_for_update() if lock else query)
    if document is None:
        raise NotFound(_NO_SUCH_DOCUMENT)
    return document


async def list_documents(
    session: AsyncSession, owner_id: UUID, *, before: UUID | None, limit: int
) -> Sequence[Document]:
    """Return documents, newest first.

    Args:
        session: For the query.
        owner_id: Whose.
        before: Only documents before this id.
        limit: At most so many.
    """
    query = (
        select(Document)
        .where(col(Document.owner_id) == owner_id, col(Document.status) != Status.DELETED)
        .order_by(col(Document.id).desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(col(Document.id) < before)
    return (await session.scalars(query)).all()


async def list_chunks(session: AsyncSession, document_id: UUID, *, after: UUID | None, limit: int) -> Sequence[Chunk]:
    """Return a document's chunks in their order.

    Args:
        session: For the query.
        document_id: Whose.
        after: Only chunks after the one with this id.
        limit: At most so many.
    """
    query = select(Chunk).where(col(Chunk.document_id) == document_id).order_by(col(Chunk.index)).limit(limit)
    if after is not None:
        position = select(col(Chunk.index)).where(col(Chunk.id) == after, col(Chunk.document_id) == document_id)
        query = query.where(col(Chunk.index) > func.coalesce(position.scalar_subquery(), -1))
    return (await session.scalars(query)).all()


async def delete_document(jobs: App, session: AsyncSession, owner_id: UUID, document_id: UUID) -> None:
    """Delete a document: nothing of it is found any more from the commit on, and a worker removes the rows.

    Raises:
        NotFound: if there is none.
    """
    document = await get_document(session, owner_id, document_id, lock=True)
    await index.hide(session, document)
    # A lock of its own: an attempt that reads the document now must not keep its rows from going.
    await defer(jobs, session, "purge", lock=f"purge {document_id}", document_id=str(document_id))
    await notify(session, CHANNEL, str(document_id))
