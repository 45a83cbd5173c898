"""Run the BM25 and vector queries of a search as one statement."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from project3_rag_docs.search.bm25 import BM25Query
from project3_rag_docs.search.statistics import Scope
from project3_rag_docs.search.vectors import VectorQuery

RankingQuery = BM25Query | VectorQuery
ChunkKey = tuple[int, int]  # the document's number and the chunk's index in it


class RankedChunk(NamedTuple):
    """A chunk in one ranking. Its score is that of BM25, or the cosine."""

    document: int
    chunk: int
    score: float

    @property
    def key(self) -> ChunkKey:
        """The chunk's identity, the same in each ranking."""
        return self.document, self.chunk


async def run_queries(
    session: AsyncSession, scope: Scope, queries: Sequence[RankingQuery], limit: int
) -> list[list[RankedChunk]]:
    """Run the ranking queries of a search on one snapshot of the database.

    Args:
        session: A session in which `load_statistics` was called.
        queries: At most one of them a `BM25Query`, and one `VectorQuery` for each language.

    Returns:
        For each query its chunks, best first.
    """
    rankings = await _run(session, scope, queries, limit)
    # An index search ends after a maximum of visited rows, and rare terms may occur outside the scope only.
    short = [
        number
        for number, (query, ranking) in enumerate(zip(queries, rankings, strict=True))
        if len(ranking) < min(limit, query.corpus.in_scope_count) and query.exhaustive() != query
    ]
    if short:
        retried = await _run(session, scope, [queries[number].exhaustive() for number in short], limit)
        for number, ranking in zip(short, retried, strict=True):
            rankings[number] = ranking
    return rankings


async def _run(
    session: AsyncSession, scope: Scope, queries: Sequence[RankingQuery], limit: int
) -> list[list[RankedChunk]]:
    rankings: list[list[RankedChunk]] = [[] for _ in queries]
    if queries:
        parameters = scope.parameters() | {"limit": limit}
        for query in queries:
            parameters |= query.parameters(limit)
        statement = _union(tuple(query.sql(scope.where) for query in queries))
        for number, document, chunk, score in (await session.execute(statement, parameters)).all():
            rankings[number].append(RankedChunk(document, chunk, score))
    return rankings


@lru_cache
def _union(selects: tuple[str, ...]) -> TextClause:
    parts = [
        f"SELECT {number}, made.* FROM ({select}) AS made (document, chunk, score)"  # noqa: S608  no value in it
        for number, select in enumerate(selects)
    ]
    return text(" UNION ALL ".join(parts) + " ORDER BY 1, score DESC, document, chunk")
