"""The repository of documents: the statements behind the routes, without HTTP."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from procrastinate import App
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import ColumnElement
from sqlmodel import col

from project3_rag_docs.collections import get_collection
from project3_rag_docs.ingestion.job import CHANNEL
from project3_rag_docs.ingestion.publishing import defer_purge, lock_versions
from project3_rag_docs.ingestion.upload import Upload, clean_filename
from project3_rag_docs.models import Chunk, Document, DocumentPart, PastVersion, Status
from project3_rag_docs.search import index
from project3_rag_docs.search.filters import DocumentFilter
from shared.errors import InvalidRequest, Limit, NotFound, TooManyRequests
from shared.jobs.notifications import notify
from shared.jobs.queue import Turn, defer

MAX_METADATA = 50
_NOT_FOUND = "There is no document with this id."
_RETRY_SECONDS = 30


async def add_document(
    jobs: App, session: AsyncSession, owner_id: UUID, upload: Upload, at_once: int, collection_id: UUID | None = None
) -> tuple[Document, bool]:
    """Store a file and the job that ingests it, unless the owner has a document with the same content.

    Args:
        at_once: How many documents of one owner are ingested at once.
        collection_id: The collection of a new document.

    Returns:
        The document, and whether its ingestion was started: because it is new, or because it had failed.
    """
    while True:
        stored = await store(jobs, session, owner_id, upload, at_once, collection_id=collection_id)
        if stored is not None:
            return stored, True
        same_content = (
            col(Document.owner_id) == owner_id,
            col(Document.sha256) == upload.sha256,
            col(Document.status) != Status.DELETED,
        )
        document_id = await session.scalar(select(col(Document.public_id)).where(*same_content))
        if document_id is not None:
            await lock_versions(session, document_id)
        existing = await session.scalar(select(Document).where(*same_content).with_for_update())
        if existing is None or existing.public_id != document_id:
            continue  # it was deleted between two statements
        return existing, await retry_failed(jobs, session, existing, at_once)


async def store(
    jobs: App, session: AsyncSession, owner_id: UUID, upload: Upload, at_once: int, **columns: Any
) -> Document | None:
    """Store a file and the job that ingests it; return None if the owner has a document with the same content.

    Args:
        columns: Further columns: the collection, or those that connect it with earlier versions.
    """
    new = Document(
        owner_id=owner_id,
        filename=upload.filename,
        media_type=upload.media_type,
        size_bytes=upload.size,
        sha256=upload.sha256,
        **columns,
    )
    stored: Document | None = await session.scalar(
        upsert(Document)
        .values(new.model_dump(exclude={"number", "public_id"}))
        .on_conflict_do_nothing(
            index_elements=["owner_id", "sha256"],
            # A literal: with a parameter, PostgreSQL could not match the condition of the partial index.
            index_where=text("status <> 'deleted'"),
        )
        .returning(Document)
    )
    if stored is not None:
        await _store_parts(session, stored.id, upload)
        await _defer_ingestion(jobs, session, stored, at_once)
    return stored


async def retry_failed(jobs: App, session: AsyncSession, document: Document, at_once: int) -> bool:
    """Start the ingestion of a document again if it has failed; return whether it has."""
    if document.status != Status.FAILED:
        return False
    document.status, document.error = Status.PROCESSING, None
    await _defer_ingestion(jobs, session, document, at_once)
    return True


async def check_waiting(session: AsyncSession, owner_id: UUID, maximum: int) -> None:
    """Check that no more of an owner's documents wait for ingestion than allowed, after one was added.

    Raises:
        TooManyRequests: if they do. Uploads of the same moment do not see each other.
    """
    query = select(func.count()).where(col(Document.owner_id) == owner_id, col(Document.status) == Status.PROCESSING)
    waiting = await session.scalar(query) or 0
    if waiting > maximum:
        raise TooManyRequests(
            f"{maximum:,} of your documents wait already. Try again when some of them are ready.",
            retry_after=_RETRY_SECONDS,
            limit=Limit("user_documents_waiting_max", maximum, waiting - 1),
        )


async def _store_parts(session: AsyncSession, document_id: UUID, upload: Upload) -> None:
    parts = upload.parts()
    number = 0
    while part := await asyncio.to_thread(next, parts, b""):  # the file may be on a disk
        await session.execute(insert(DocumentPart).values(document_id=document_id, index=number, data=part))
        number += 1


async def _defer_ingestion(jobs: App, session: AsyncSession, document: Document, at_once: int) -> None:
    turn = Turn(str(document.owner_id), at_once, cost=1 + document.size_bytes // _COST_BYTES)
    await defer(jobs, session, "ingest", lock=turn, document_id=str(document.id))


async def queue_positions(session: AsyncSession, document_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return how many documents are ingested before each of some that wait; those that do not wait are left out."""
    rows = await session.execute(_POSITIONS, {"ids": [str(document_id) for document_id in document_ids]})
    return {UUID(document_id): position for document_id, position in rows}


_COST_BYTES = 64 * 1024
_POSITIONS = text("""
    SELECT document_id, position FROM (
        SELECT args ->> 'document_id' AS document_id, row_number() OVER (ORDER BY priority DESC, id) - 1 AS position
        FROM procrastinate_jobs WHERE task_name = 'ingest' AND status = 'todo'
    ) AS waiting WHERE document_id = ANY(:ids)
""")


async def get_document(session: AsyncSession, owner_id: UUID, document_id: UUID, *, lock: bool = False) -> Document:
    """Return the current version of a document; with `lock`, lock its row.

    Raises:
        NotFound: if there is none, or it belongs to another owner.
    """
    query = select(Document).where(*_versions_of(owner_id, document_id), ~col(Document.replaces))
    document: Document | None = await session.scalar(query.with_for_update() if lock else query)
    if document is None:
        raise NotFound(_NOT_FOUND)
    return document


async def get_latest(session: AsyncSession, owner_id: UUID, document_id: UUID) -> Document:
    """Return the version that will replace the current one of a document, or the current one.

    Raises:
        NotFound: if there is none, or it belongs to another owner.
    """
    query = select(Document).where(*_versions_of(owner_id, document_id)).order_by(col(Document.replaces).desc())
    document: Document | None = await session.scalar(query.limit(1))
    if document is None:
        raise NotFound(_NOT_FOUND)
    return document


def _versions_of(owner_id: UUID, document_id: UUID) -> list[ColumnElement[bool]]:
    return [
        col(Document.public_id) == document_id,
        col(Document.owner_id) == owner_id,
        col(Document.status) != Status.DELETED,
    ]


async def list_documents(
    session: AsyncSession,
    *owner_ids: UUID,
    before: UUID | None,
    limit: int,
    name: str | None = None,
    filename: str | None = None,
    status: Status | None = None,
    where: DocumentFilter | None = None,
) -> Sequence[Document]:
    """Return the current versions of documents, newest first.

    Args:
        before: The `id` of a version; only older ones are returned.
        name: A part of the file name, in upper or lower case.
        filename: The whole of it.
        where: A further condition on the documents.
    """
    query = (
        select(Document)
        .where(col(Document.owner_id).in_(owner_ids), col(Document.status) != Status.DELETED, ~col(Document.replaces))
        .order_by(col(Document.id).desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(col(Document.id) < before)
    if name is not None:
        query = query.where(col(Document.filename).icontains(name, autoescape=True))
    if filename is not None:
        query = query.where(col(Document.filename) == filename)
    if status is not None:
        query = query.where(col(Document.status) == status)
    condition, values = where.condition() if where else ("", {})
    if condition:
        query = query.where(text(condition).bindparams(**values))
    return (await session.scalars(query)).all()


async def update_document(
    session: AsyncSession,
    owner_id: UUID,
    document_id: UUID,
    *,
    filename: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Sequence[str] | None = None,
    **collection: UUID | None,
) -> Document:
    """Rename a document, set values of its metadata (None removes one), or replace its tags.

    Args:
        collection: `collection_id` puts it into another collection, or into none.

    Raises:
        NotFound: if there is no such document or collection.
        InvalidRequest: if it has too much metadata.
    """
    await lock_versions(session, document_id)  # publishing a new version at the same time would hide this row
    document = await get_document(session, owner_id, document_id, lock=True)
    if filename is not None:
        document.filename = clean_filename(filename)
    if metadata is not None:
        merged = {**document.custom, **metadata}
        document.custom = {name: value for name, value in merged.items() if value is not None}
        if len(document.custom) > MAX_METADATA:
            raise InvalidRequest(f"A document has at most {MAX_METADATA} values of metadata.")
    if tags is not None:
        document.tags = list(dict.fromkeys(tags))
    if "collection_id" in collection:
        if (wanted := collection["collection_id"]) is not None:
            await get_collection(session, owner_id, wanted, lock="reference")
        document.collection_id = wanted
    return document


async def get_chunk(session: AsyncSession, version_id: UUID, chunk_id: UUID) -> Chunk:
    """Return a chunk of a version of a document.

    Raises:
        NotFound: if the version has no such chunk.
    """
    wanted = (col(Chunk.id) == chunk_id, col(Chunk.document_id) == version_id)
    chunk: Chunk | None = await session.scalar(select(Chunk).where(*wanted))
    if chunk is None:
        raise NotFound("The document has no chunk with this id.")
    return chunk


async def list_neighbours(
    session: AsyncSession, version_id: UUID, chunk_id: UUID, *, before: int, after: int
) -> Sequence[Chunk]:
    """Return a chunk with those around it, in document order.

    Raises:
        NotFound: if the document has no such chunk.
    """
    chunk = await get_chunk(session, version_id, chunk_id)
    query = (
        select(Chunk)
        .where(
            col(Chunk.document_id) == version_id,
            col(Chunk.index).between(chunk.index - before, chunk.index + after),
        )
        .order_by(col(Chunk.index))
    )
    return (await session.scalars(query)).all()


async def list_chunks(session: AsyncSession, version_id: UUID, *, after: UUID | None, limit: int) -> Sequence[Chunk]:
    """Return the chunks of a document that follow the one with the id `after`, in document order."""
    query = select(Chunk).where(col(Chunk.document_id) == version_id).order_by(col(Chunk.index)).limit(limit)
    if after is not None:
        position = select(col(Chunk.index)).where(col(Chunk.id) == after, col(Chunk.document_id) == version_id)
        query = query.where(col(Chunk.index) > func.coalesce(position.scalar_subquery(), -1))
    return (await session.scalars(query)).all()


async def delete_document(jobs: App, session: AsyncSession, owner_id: UUID, document_id: UUID) -> None:
    """Mark a document as deleted, which hides it from searches, and start the job that deletes its rows.

    Raises:
        NotFound: if there is none.
    """
    await lock_versions(session, document_id)
    query = select(Document).where(*_versions_of(owner_id, document_id)).with_for_update()
    versions = (await session.scalars(query)).all()
    if not versions:
        raise NotFound(_NOT_FOUND)
    for version in versions:
        await index.mark_deleted(session, version)
        await defer_purge(jobs, session, version)
    await session.execute(delete(PastVersion).where(col(PastVersion.public_id) == document_id))
    await notify(session, CHANNEL, str(document_id))
