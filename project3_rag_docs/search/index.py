"""Write the search index: chunks with their embeddings, postings, and the counts that BM25 needs.

`statistics.py`, `bm25.py` and `vectors.py` read it. Every function here works in the transaction of its session.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

from sqlalchemy import delete, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project3_rag_docs.ingestion.parsing.child import ParsedChunk
from project3_rag_docs.models import Chunk, Document, DocumentLanguage, Posting, SearchIndex, Status
from project3_rag_docs.settings import Settings
from shared.errors import ConfigurationError

_MAX_FREQUENCY = 32_767  # the maximum of smallint; a higher frequency would not change the BM25 score noticeably


@dataclass(frozen=True)
class EmbeddedChunk:
    """A chunk with its index in the document and its embedding."""

    index: int
    parsed: ParsedChunk
    embedding: Sequence[float]


def term_key(owner_id: UUID, language: str, term: str) -> int:
    """Return the key of a term in the index: 64 bits, different for each owner and language.

    Two terms of one text collide once in about 10^16 pairs.
    """
    digest = blake2b(f"{language}:{term}".encode(), digest_size=8, key=owner_id.bytes).digest()
    return int.from_bytes(digest, signed=True)


async def store_chunks(session: AsyncSession, document: Document, chunks: Sequence[EmbeddedChunk]) -> None:
    """Store chunks with their postings. Searches ignore them until the document is published."""
    await session.execute(
        insert(Chunk),
        [
            {
                "document_id": document.id,
                "owner_id": document.owner_id,
                "index": chunk.index,
                "page": chunk.parsed.page,
                "heading": chunk.parsed.heading,
                "text": chunk.parsed.text,
                "recognised": chunk.parsed.recognised,
                "language": chunk.parsed.language,
                "term_count": sum(chunk.parsed.terms.values()),
                "embedding": chunk.embedding,
            }
            for chunk in chunks
        ],
    )
    postings = [
        (
            term_key(document.owner_id, chunk.parsed.language, term),
            chunk.index,
            min(frequency, _MAX_FREQUENCY),
            sum(chunk.parsed.terms.values()),
        )
        for chunk in chunks
        for term, frequency in chunk.parsed.terms.items()
    ]
    if postings:
        await session.execute(_INSERT_POSTINGS, _columns(document.number, postings))


# One statement for hundreds of rows: four arrays instead of one parameter per value.
_INSERT_POSTINGS = text("""
    INSERT INTO postings (document, term, chunk, frequency, length)
    SELECT :document, * FROM unnest(
        CAST(:terms AS bigint[]), CAST(:chunks AS int[]), CAST(:frequencies AS smallint[]), CAST(:lengths AS int[])
    )
""")


def _columns(document: int | None, postings: Sequence[tuple[int, int, int, int]]) -> dict[str, object]:
    terms, chunks, frequencies, lengths = (list(column) for column in zip(*postings, strict=True))
    return {"document": document, "terms": terms, "chunks": chunks, "frequencies": frequencies, "lengths": lengths}


async def delete_chunks(session: AsyncSession, document: Document) -> None:
    """Delete the stored chunks of a document that was never published."""
    await session.execute(delete(Chunk).where(col(Chunk.document_id) == document.id))
    await session.execute(delete(Posting).where(col(Posting.document) == document.number))


async def publish(session: AsyncSession, document: Document, replaced: Document | None = None) -> None:
    """Make a document searchable once its chunks are stored. The document's row must be locked.

    Args:
        replaced: The version that is hidden instead, whose row must be locked, too.
    """
    published = replaced is not None and _hide(replaced)
    await session.flush()  # a document cannot have two current versions
    document.status, document.replaces = Status.READY, False
    document.claim = None
    document.error = None
    await session.execute(_COUNT_LANGUAGES, {"id": document.id})
    removed = replaced.id if replaced is not None and published else None
    await session.execute(_CHANGE_CORPORA, {"owner": document.owner_id, "added": document.id, "removed": removed})
    await session.execute(_ADD_TO_TERMS, {"number": document.number, "sign": 1})


async def mark_deleted(session: AsyncSession, document: Document) -> None:
    """Hide a document from all searches. The document's row must be locked."""
    if _hide(document):
        parameters = {"owner": document.owner_id, "added": None, "removed": document.id}
        await session.execute(_CHANGE_CORPORA, parameters)


def _hide(document: Document) -> bool:
    """Mark a document as deleted, and return whether it was searchable."""
    published = document.status == Status.READY
    document.status = Status.DELETED
    document.claim = None
    return published


async def delete_rows(session: AsyncSession, document_id: UUID) -> None:
    """Delete all rows of a document that is marked as deleted, if it still exists."""
    wanted = (col(Document.id) == document_id, col(Document.status) == Status.DELETED)
    document = await session.scalar(select(Document).where(*wanted).with_for_update())
    if document is None:
        return
    published = select(DocumentLanguage).where(col(DocumentLanguage.document_id) == document.id).exists()
    if await session.scalar(select(published)):
        await session.execute(_ADD_TO_TERMS, {"number": document.number, "sign": -1})
        await session.execute(_REMOVE_UNUSED_TERMS, {"number": document.number})
    await session.delete(document)


_COUNT_LANGUAGES = text("""
    INSERT INTO document_languages (document_id, language, chunk_count, term_count)
    SELECT document_id, language, count(*), sum(term_count) FROM chunks WHERE document_id = :id
    GROUP BY document_id, language
""")
# ORDER BY, here and below: transactions that change the same rows in the same order cannot deadlock.
_CHANGE_CORPORA = text("""
    INSERT INTO corpora (owner_id, language, chunk_count, term_count)
    SELECT :owner, language, sum(sign * chunk_count), sum(sign * term_count)
    FROM (VALUES (CAST(:added AS uuid), 1), (CAST(:removed AS uuid), -1)) AS changed (id, sign)
    JOIN document_languages ON document_id = changed.id
    GROUP BY language ORDER BY language
    ON CONFLICT (owner_id, language) DO UPDATE SET
        chunk_count = corpora.chunk_count + excluded.chunk_count,
        term_count = corpora.term_count + excluded.term_count
""")
_ADD_TO_TERMS = text("""
    INSERT INTO terms (term, chunk_count)
    SELECT term, :sign * count(*) FROM postings WHERE document = :number GROUP BY term ORDER BY term
    ON CONFLICT (term) DO UPDATE SET chunk_count = terms.chunk_count + excluded.chunk_count
""")
_REMOVE_UNUSED_TERMS = text("""
    DELETE FROM terms WHERE chunk_count <= 0 AND term IN (SELECT term FROM postings WHERE document = :number)
""")


HOW_TO_REINDEX = (
    "run the command `reindex` to embed all documents again (`make reindex-project3` or `make reindex-project4` if the "
    "database is embedded)"
)


async def claim_index(session: AsyncSession, settings: Settings) -> None:
    """Claim an empty index for the model in the settings, or check that the stored embeddings come from it.

    Raises:
        ConfigurationError: if they come from another model.
    """
    wanted = (settings.embedding_model, settings.embedding_dimensions)
    if await load_index_model(session) == wanted:
        return
    # A concurrent transaction waits here for the first one, and then finds its row.
    await session.execute(
        upsert(SearchIndex).values(id=1, model="", dimensions=0).on_conflict_do_nothing(index_elements=["id"])
    )
    row = (await session.scalars(select(SearchIndex).with_for_update())).one()
    if (row.model, row.dimensions) == wanted:
        return
    if await session.scalar(select(select(col(Chunk.id)).exists())):
        raise ConfigurationError(
            f"the documents were embedded by {row.model} ({row.dimensions} dimensions), but EMBEDDING_MODEL is now "
            f"{settings.embedding_model} ({settings.embedding_dimensions}); {HOW_TO_REINDEX}"
        )
    await session.execute(text(f"ALTER TABLE chunks ALTER COLUMN embedding TYPE halfvec({wanted[1]:d})"))
    row.model, row.dimensions = wanted


async def lock_index(session: AsyncSession, settings: Settings) -> None:
    """Prevent a reindexing from switching the model until the transaction ends.

    Raises:
        ConfigurationError: if the stored embeddings come from another model than the one in the settings.
    """
    await session.execute(_LOCK_CHUNKS)
    if await load_index_model(session) != (settings.embedding_model, settings.embedding_dimensions):
        raise ConfigurationError("the documents were embedded again by another model")


# Conflicts with the lock that `reindex` takes to switch to the new embeddings.
_LOCK_CHUNKS = text("LOCK TABLE chunks IN ROW EXCLUSIVE MODE")


async def load_index_model(session: AsyncSession) -> tuple[str, int] | None:
    """Return the model whose embeddings are stored, and their dimensions; None if the index was never claimed."""
    row = (await session.execute(select(col(SearchIndex.model), col(SearchIndex.dimensions)))).one_or_none()
    return (row.model, row.dimensions) if row else None
