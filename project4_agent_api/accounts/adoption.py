"""`adopt-documents`: move the local user's documents to an account.

Stage 3 stores the owner in every part of a document, even in the hashed terms of the postings. The account therefore
gets copies, which stage 3's own functions make from the stored chunks and embeddings, and the originals are deleted.
No model is called, and each document moves in one transaction.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from procrastinate import App
from sqlalchemy import insert, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from uuid_utils.compat import uuid7

from project3_rag_docs import documents
from project3_rag_docs.ingestion.chunking import indexed_text
from project3_rag_docs.ingestion.parsing.child import ParsedChunk
from project3_rag_docs.models import Chunk, Document, DocumentPart, PastVersion, Status
from project3_rag_docs.search import index
from project3_rag_docs.search.index import EmbeddedChunk
from project3_rag_docs.search.lexical import analyse
from shared.database.engine import Sessions, transaction
from shared.jobs.queue import defer
from shared.owner import LOCAL_OWNER_ID

_COPIED_COLUMNS = (
    *("filename", "media_type", "size_bytes", "sha256", "status", "chunk_total", "error", "notice", "created_at"),
    *("custom", "tags", "version", "collection_id"),
)
_CHUNK_BATCH = 200
# With a mark if the account has one with the same name.
_MOVE_COLLECTIONS = text("""
    UPDATE collections SET owner_id = :account, name = CASE
        WHEN name IN (SELECT name FROM collections WHERE owner_id = :account) THEN left(name, 60) || ' ' || id
        ELSE name END
    WHERE owner_id = :local
""")


async def adopt_documents(sessions: Sessions, jobs: App, account_id: UUID) -> tuple[int, int]:
    """Move the local user's documents to an account.

    Returns:
        The number of documents that were moved, and of those that the account already had with the same content.
    """
    async with transaction(sessions) as session:
        await session.execute(_MOVE_COLLECTIONS, {"local": LOCAL_OWNER_ID, "account": account_id})
    adopted = duplicates = 0
    while True:
        async with transaction(sessions) as session:
            batch = await documents.list_documents(session, LOCAL_OWNER_ID, before=None, limit=1)
            if not batch:
                return adopted, duplicates
            if await _adopt(session, jobs, batch[0].public_id, account_id):
                adopted += 1
            else:
                duplicates += 1


async def _adopt(session: AsyncSession, jobs: App, document_id: UUID, account_id: UUID) -> bool:
    original = await documents.get_document(session, LOCAL_OWNER_ID, document_id, lock=True)
    same_content = await _with_content_of(session, original, account_id)
    is_new = same_content is None or same_content.status == Status.FAILED
    if is_new:
        if same_content is not None:
            await documents.delete_document(jobs, session, account_id, same_content.public_id)
        await _copy_versions(session, jobs, original, account_id)
    await documents.delete_document(jobs, session, LOCAL_OWNER_ID, document_id)
    return is_new


async def _with_content_of(session: AsyncSession, document: Document, account_id: UUID) -> Document | None:
    query = select(Document).where(
        col(Document.owner_id) == account_id,
        col(Document.sha256) == document.sha256,
        col(Document.status) != Status.DELETED,
    )
    found: Document | None = await session.scalar(query)
    return found


async def _copy_versions(session: AsyncSession, jobs: App, original: Document, account_id: UUID) -> None:
    """Copy a document with its history and, unless the account has its content, the version that will replace it."""
    copy = await _copy(session, jobs, original, {"owner_id": account_id})
    moved = {"public_id": copy.public_id, "owner_id": account_id}
    await session.execute(update(PastVersion).where(col(PastVersion.public_id) == original.public_id).values(moved))
    new_version = await documents.get_latest(session, LOCAL_OWNER_ID, original.public_id)
    if new_version.replaces and await _with_content_of(session, new_version, account_id) is None:
        await _copy(session, jobs, new_version, {"owner_id": account_id, "first_id": copy.public_id, "replaces": True})


async def _copy(session: AsyncSession, jobs: App, original: Document, changes: Mapping[str, Any]) -> Document:
    values = {name: getattr(original, name) for name in _COPIED_COLUMNS} | {"id": uuid7(), "chunk_count": 0, **changes}
    if original.status == Status.READY:
        values["status"] = Status.PROCESSING  # until its chunks are copied
    copy = (await session.scalars(insert(Document).values(values).returning(Document))).one()
    parts = select(literal(copy.id), col(DocumentPart.index), col(DocumentPart.data)).where(
        col(DocumentPart.document_id) == original.id
    )
    await session.execute(insert(DocumentPart).from_select(["document_id", "index", "data"], parts))
    if original.status == Status.READY:
        await _copy_chunks(session, original, copy)
        await index.publish(session, copy)
    elif original.status == Status.PROCESSING:
        await defer(jobs, session, "ingest", lock=str(copy.id), document_id=str(copy.id))
    await session.flush()
    return copy


async def _copy_chunks(session: AsyncSession, original: Document, copy: Document) -> None:
    query = select(Chunk).where(col(Chunk.document_id) == original.id).order_by(col(Chunk.index))
    while chunks := (await session.scalars(query.offset(copy.chunk_count).limit(_CHUNK_BATCH))).all():
        await index.store_chunks(session, copy, [_embedded_chunk(chunk) for chunk in chunks])
        copy.chunk_count += len(chunks)
        for chunk in chunks:
            session.expunge(chunk)


def _embedded_chunk(chunk: Chunk) -> EmbeddedChunk:
    analysis = analyse(indexed_text(chunk.heading, chunk.text))
    terms = dict(analysis.terms)
    parsed = ParsedChunk(chunk.text, chunk.page, chunk.heading, analysis.language, terms, chunk.recognised)
    return EmbeddedChunk(chunk.index, parsed, chunk.embedding)
