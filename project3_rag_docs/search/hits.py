"""The hits of a search: the chunks that were found, with their text and their document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from project3_rag_docs.search.rankings import ChunkKey


@dataclass(frozen=True)
class Hit:
    """A chunk that was found.

    Attributes:
        score: Higher is better, within one search; scores of two searches cannot be compared.
        similarity: Cosine of its embedding and the query's; None if only BM25 found the chunk.
        recognised: Whether the text comes from OCR.
    """

    chunk_id: UUID
    document_id: UUID
    filename: str
    page: int | None
    heading: str | None
    text: str
    score: float
    similarity: float | None = None
    recognised: bool = False


async def load_hits(
    session: AsyncSession, ranked: Sequence[ChunkKey], k: int, similarities: Mapping[ChunkKey, float]
) -> list[Hit]:
    """Load the first `k` chunks of a ranking, in its order, without those of documents deleted in the meantime.

    Args:
        ranked: Best first.
        similarities: The cosines of the chunks that vector queries found.
    """
    parameters = {
        "documents": [document for document, _ in ranked],
        "chunks": [chunk for _, chunk in ranked],
        "k": k,
    }
    hits = []
    for rank, row in enumerate((await session.execute(_HITS_QUERY, parameters)).mappings(), start=1):
        fields = dict(row)
        similarity = similarities.get((fields.pop("number"), fields.pop("index")))
        hits.append(Hit(**fields, score=1 / rank, similarity=similarity))
    return hits


_HITS_QUERY = text("""
    SELECT number, index, chunks.id AS chunk_id, documents.id AS document_id, filename, page, heading, text, recognised
    FROM unnest(CAST(:documents AS int[]), CAST(:chunks AS int[])) WITH ORDINALITY AS wanted (document, chunk, place)
    JOIN documents ON documents.number = wanted.document AND status = 'ready'
    JOIN chunks ON chunks.document_id = documents.id AND chunks.index = wanted.chunk
    ORDER BY place LIMIT :k
""")
