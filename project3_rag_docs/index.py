"""Writing the search index: chunks with their embeddings, postings, and the counts that BM25 needs.

The reading side is `search.py`. Every function here works in the transaction of the session that it is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project3_rag_docs.models import Chunk, Corpus, Document, Posting, SearchIndex, Status
from project3_rag_docs.parsing.child import ParsedChunk
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
    await _count(session, document, sign=1)


async def hide(session: AsyncSession, document: Document) -> None:
    """Let nothing of a document be found any more. The document's row must be locked."""
    published = document.status == Status.READY
    document.status = Status.DELETED
    document.claim = None
    if published:
        await _count(session, document, sign=-1)


async def _count(session: AsyncSession, document: Document, sign: int) -> None:
    counts = await session.execute(
        select(col(Chunk.language), func.count(), func.sum(col(Chunk.term_count)))
        .where(col(Chunk.document_id) == document.id)
        .group_by(col(Chunk.language))
        .order_by(col(Chunk.language))  # two transactions that lock the same rows do so in the same order
    )
    for language, chunk_count, term_count in counts:
        new = upsert(Corpus).values(
            owner_id=document.owner_id,
            language=language,
            chunk_count=sign * chunk_count,
            term_count=sign * int(term_count),
        )
        await session.execute(
            new.on_conflict_do_update(
                index_elements=["owner_id", "language"],
                set_={
                    "chunk_count": col(Corpus.chunk_count) + new.excluded.chunk_count,
                    "term_count": col(Corpus.term_count) + new.excluded.term_count,
                },
            )
        )


HOW_TO_REINDEX = "`make reindex-project3` embeds all documents again"


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


async def made_with(session: AsyncSession) -> tuple[str, int] | None:
    """Return the model whose embeddings are stored, and their dimensions; None before the first start."""
    row = (await session.execute(select(col(SearchIndex.model), col(SearchIndex.dimensions)))).one_or_none()
    return (row.model, row.dimensions) if row else None
