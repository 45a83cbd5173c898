"""Writing the search index: chunks with their embeddings, postings, and the counts that BM25 needs.

The reading side is `rankings.py`. Every function here works in the transaction of the session that it is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

from sqlalchemy import ColumnElement, delete, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project3_rag_docs.ingestion.parsing.child import ParsedChunk
from project3_rag_docs.models import Chunk, Document, DocumentLanguage, Posting, SearchIndex, Status
from project3_rag_docs.settings import Settings
from shared.errors import ConfigurationError

_MOST_FREQUENT = 32_767  # what a smallint holds; BM25 cannot tell it from more


@dataclass(frozen=True)
class EmbeddedChunk:
    """A chunk, its place in the document, and its embedding."""

    index: int
    parsed: ParsedChunk
    embedding: Sequence[float]


def term_key(owner_id: UUID, language: str, term: str) -> int:
    """Return what a term is in the index: 64 bits, different for each owner and language.

    Two terms of one text collide once in about 10^16 pairs.
    """
    digest = blake2b(f"{language}:{term}".encode(), digest_size=8, key=owner_id.bytes).digest()
    return int.from_bytes(digest, signed=True)


async def store_chunks(session: AsyncSession, document: Document, chunks: Sequence[EmbeddedChunk]) -> None:
    """Store chunks with their postings. Nothing of them is found before the document is published."""
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
            min(frequency, _MOST_FREQUENT),
            sum(chunk.parsed.terms.values()),
        )
        for chunk in chunks
        for term, frequency in chunk.parsed.terms.items()
    ]
    if postings:
        await session.execute(_INSERT_POSTINGS, _columns(document.number, postings))


# One statement for hundreds of rows: four arrays instead of a parameter for each value.
_INSERT_POSTINGS = text("""
    INSERT INTO postings (document, term, chunk, frequency, length)
    SELECT :document, * FROM unnest(
        CAST(:terms AS bigint[]), CAST(:chunks AS int[]), CAST(:frequencies AS smallint[]), CAST(:lengths AS int[])
    )
""")


def _columns(document: int | None, postings: Sequence[tuple[int, int, int, int]]) -> dict[str, object]:
    terms, chunks, frequencies, lengths = (list(column) for column in zip(*postings, strict=True))
    return {"document": document, "terms": terms, "chunks": chunks, "frequencies": frequencies, "lengths": lengths}


async def remove_chunks(session: AsyncSession, document: Document) -> None:
    """Remove what is stored of a document that was never published."""
    await session.execute(delete(Chunk).where(col(Chunk.document_id) == document.id))
    await session.execute(delete(Posting).where(col(Posting.document) == document.number))


async def publish(session: AsyncSession, document: Document) -> None:
    """Let a document whose chunks are stored be found. The document's row must be locked."""
    document.status = Status.READY
    document.claim = None
    document.error = None
    await session.execute(_COUNT_LANGUAGES, {"id": document.id})
    await session.execute(_ADD_TO_CORPORA, {"id": document.id, "owner": document.owner_id, "sign": 1})
    await session.execute(_ADD_TO_TERMS, {"number": document.number, "sign": 1})


async def hide(session: AsyncSession, document: Document) -> None:
    """Let nothing of a document be found any more. The document's row must be locked."""
    published = document.status == Status.READY
    document.status = Status.DELETED
    document.claim = None
    if published:
        await session.execute(_ADD_TO_CORPORA, {"id": document.id, "owner": document.owner_id, "sign": -1})


async def remove(session: AsyncSession, document_id: UUID) -> None:
    """Remove all rows of a document that is hidden; nothing where there is none."""
    wanted = (col(Document.id) == document_id, col(Document.status) == Status.DELETED)
    document = await session.scalar(select(Document).where(*wanted).with_for_update())
    if document is None:
        return
    if await session.scalar(select(select(DocumentLanguage).where(_of(document)).exists())):  # it was published
        await session.execute(_ADD_TO_TERMS, {"number": document.number, "sign": -1})
        await session.execute(_REMOVE_UNUSED_TERMS, {"number": document.number})
    await session.delete(document)


def _of(document: Document) -> ColumnElement[bool]:
    return col(DocumentLanguage.document_id) == document.id


_COUNT_LANGUAGES = text("""
    INSERT INTO document_languages (document_id, language, chunk_count, term_count)
    SELECT document_id, language, count(*), sum(term_count) FROM chunks WHERE document_id = :id
    GROUP BY document_id, language
""")
# Two transactions that change the same rows do so in the same order, here and below, or they could wait for each other.
_ADD_TO_CORPORA = text("""
    INSERT INTO corpora (owner_id, language, chunk_count, term_count)
    SELECT :owner, language, :sign * chunk_count, :sign * term_count FROM document_languages
    WHERE document_id = :id ORDER BY language
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
    "the command `reindex` embeds all documents again (`make reindex-project3` or `make reindex-project4` where the "
    "database is embedded)"
)


async def claim_index(session: AsyncSession, settings: Settings) -> None:
    """Make sure that the stored embeddings are of the model that the settings name; an index without any becomes its.

    Raises:
        ConfigurationError: if they are of another model.
    """
    wanted = (settings.embedding_model, settings.embedding_dimensions)
    if await made_with(session) == wanted:
        return
    # Who comes second waits here for the first, and finds the row.
    await session.execute(
        upsert(SearchIndex).values(id=1, model="", dimensions=0).on_conflict_do_nothing(index_elements=["id"])
    )
    row = (await session.scalars(select(SearchIndex).with_for_update())).one()
    if (row.model, row.dimensions) == wanted:
        return
    if await session.scalar(select(select(col(Chunk.id)).exists())):
        raise ConfigurationError(
            f"the documents were embedded by {row.model} ({row.dimensions} dimensions), and EMBEDDING_MODEL is now "
            f"{settings.embedding_model} ({settings.embedding_dimensions}); {HOW_TO_REINDEX}"
        )
    await session.execute(text(f"ALTER TABLE chunks ALTER COLUMN embedding TYPE halfvec({wanted[1]:d})"))
    row.model, row.dimensions = wanted


async def hold_index(session: AsyncSession, settings: Settings) -> None:
    """Keep the index one of the model that the settings name until the transaction is over.

    Raises:
        ConfigurationError: if it has become another model's.
    """
    await session.execute(_HOLD)
    if await made_with(session) != (settings.embedding_model, settings.embedding_dimensions):
        raise ConfigurationError("the documents are embedded by another model now")


# What takes other embeddings into use waits for whoever writes some, or the other way round.
_HOLD = text("LOCK TABLE chunks IN ROW EXCLUSIVE MODE")


async def made_with(session: AsyncSession) -> tuple[str, int] | None:
    """Return the model whose embeddings are stored, and their dimensions; None before the first start."""
    row = (await session.execute(select(col(SearchIndex.model), col(SearchIndex.dimensions)))).one_or_none()
    return (row.model, row.dimensions) if row else None
