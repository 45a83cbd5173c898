"""The hits of a search: the chunks that were found, with their text and their document."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from project3_rag_docs.search.rankings import ChunkKey


@dataclass(frozen=True)
class Hit:
    """A chunk that was found.

    Attributes:
        score: The probability that the chunk is relevant, as the search estimates it; a reranker's relevance otherwise.
        similarity: Cosine of its embedding and the query's.
        recognised: Whether the text comes from OCR.
        created_at: Time of the upload.
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
    created_at: datetime | None = None
    media_type: str = ""


async def load_hits(session: AsyncSession, ranked: Mapping[ChunkKey, float], k: int, vector: str) -> list[Hit]:
    """Load the first `k` chunks of a ranking, in its order, without those of documents deleted in the meantime.

    Args:
        ranked: The chunks with their scores, best first.
        vector: The query's embedding; see `vector_literal`.
    """
    parameters = {
        "documents": [document for document, _ in ranked],
        "chunks": [chunk for _, chunk in ranked],
        "k": k,
        "vector": vector,
    }
    hits = []
    for row in (await session.execute(_HITS_QUERY, parameters)).mappings():
        fields = dict(row)
        score = ranked[fields.pop("number"), fields.pop("index")]
        hits.append(Hit(**fields, score=score))
    return hits


_HITS_QUERY = text("""
    SELECT number, index, chunks.id AS chunk_id, documents.public_id AS document_id, filename, page, heading, text,
        recognised, created_at, media_type, nullif(1 - (embedding <=> CAST(:vector AS halfvec)), 'NaN') AS similarity
    FROM unnest(CAST(:documents AS int[]), CAST(:chunks AS int[])) WITH ORDINALITY AS wanted (document, chunk, place)
    JOIN documents ON documents.number = wanted.document AND status = 'ready'
    JOIN chunks ON chunks.document_id = documents.id AND chunks.index = wanted.chunk
    ORDER BY place LIMIT :k
""")
