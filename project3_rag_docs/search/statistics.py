"""Load the statistics that a search needs before it ranks: scope, corpus sizes by language, and term frequencies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from project3_rag_docs.search.filters import DocumentFilter
from project3_rag_docs.search.lexical import Language

# Measured on 100,000 chunks: visiting one vector of the HNSW graph takes as long as comparing this many in a scan.
_VISIT_COST = 7
# HNSW's candidate list. Measured on 100,000 chunks: recall@10 .967 with 100, .987 with 200.
_EF_SEARCH = 200
# A filter costs recall: on 20,000 chunks of the tests, .83 to .92 with a list of 200, and .89 to .97 with 400. So up to
# this many chunks that pass a filter are compared exactly, which takes about 20 ms.
_MAX_EXACT_FILTERED = 25_000
_EF_SEARCH_FILTERED = 400


@dataclass(frozen=True)
class Scope:
    """The documents that a search covers: the ready ones of an owner, or some of these by their ids or a filter."""

    owner_id: UUID
    document_ids: Sequence[UUID] | None = None
    filter: DocumentFilter | None = None

    @property
    def where(self) -> str:
        """The SQL condition on a row of `documents` that restricts the search; empty if nothing does."""
        by_id = [] if self.document_ids is None else ["public_id = ANY(:ids)"]
        by_filter = [] if self.filter is None else [self.filter.condition()[0]]
        return " AND ".join(part for part in [*by_id, *by_filter] if part)

    def parameters(self) -> dict[str, Any]:
        """Return the values for `scope_condition`."""
        ids = {} if self.document_ids is None else {"ids": list(self.document_ids)}
        return {"owner": self.owner_id, **ids, **(self.filter.condition()[1] if self.filter else {})}


def scope_condition(column: str, key: str, where: str) -> str:
    """Return the SQL condition that limits a column to the scope.

    PostgreSQL evaluates either subquery once: it reads the owner's documents that are not ready, which are few, or all
    of them if there is a condition.

    Args:
        column: A column that refers to a document.
        key: The column of `documents` to which it refers: `id` or `number`.
        where: The condition of the scope; see `Scope.where`.
    """
    if where:
        return (
            f"{column} IN (SELECT {key} FROM documents"  # noqa: S608  no value in it
            f" WHERE owner_id = :owner AND status = 'ready' AND {where})"
        )
    return f"{column} NOT IN (SELECT {key} FROM documents WHERE owner_id = :owner AND status <> 'ready')"  # noqa: S608  no value in it


@dataclass(frozen=True)
class Corpus:
    """The size of an owner's corpus in one language.

    Attributes:
        average_length: Average number of terms in a chunk.
        in_scope_count: Number of the owner's chunks that the search covers.
        indexed_count: Number of chunks of all owners in the vector index, as PostgreSQL estimates it.
    """

    language: Language
    chunk_count: int
    average_length: float
    in_scope_count: int
    indexed_count: int

    def prefers_exact_scan(self, limit: int) -> bool:
        """Return whether comparing every vector in the scope is cheaper than searching the HNSW index.

        An index search has to visit `limit * indexed_count / in_scope_count` vectors to find `limit` that are in the
        scope. A scan compares `in_scope_count`. Within a filter, a scan is also preferred for its recall.
        """
        if self.in_scope_count < self.chunk_count and self.in_scope_count <= _MAX_EXACT_FILTERED:
            return True
        return self.in_scope_count * self.in_scope_count <= _VISIT_COST * limit * max(
            self.indexed_count, self.in_scope_count
        )


@dataclass(frozen=True)
class SearchStatistics:
    """Statistics for one search.

    Attributes:
        index_model: The model whose embeddings are stored, and their dimensions; None if the index was never claimed.
        corpora: By language, without languages in which the scope is empty.
        frequencies: By term key, the number of the owner's chunks that contain the term.
    """

    index_model: tuple[str, int] | None
    corpora: Mapping[Language, Corpus]
    frequencies: Mapping[int, int]


async def load_statistics(
    session: AsyncSession, scope: Scope, term_keys: Sequence[int], limit: int
) -> SearchStatistics:
    """Load the statistics, and configure the connection for index searches that return `limit` chunks."""
    candidates = max(_EF_SEARCH_FILTERED if scope.where else _EF_SEARCH, limit)
    parameters = scope.parameters() | {"terms": term_keys, "ef_search": str(candidates)}
    rows = (await session.execute(_statistics_query(scope.where), parameters)).all()
    if not rows:
        return SearchStatistics(None, {}, {})
    corpora = {
        Language(row.language): Corpus(
            Language(row.language), row.chunk_count, max(1.0, row.term_count / row.chunk_count), row.wanted, row.indexed
        )
        for row in rows
        if row.wanted
    }
    frequencies = dict(zip(rows[0].terms or (), rows[0].frequencies or (), strict=True))
    return SearchStatistics((rows[0].model, rows[0].dimensions), corpora, frequencies)


@lru_cache
def _statistics_query(where: str) -> TextClause:
    filtered_count = f"""(
        SELECT coalesce(sum(there.chunk_count), 0) FROM documents JOIN document_languages AS there ON document_id = id
        WHERE owner_id = :owner AND status = 'ready' AND {where} AND there.language = corpora.language
    )"""  # noqa: S608  no value in it
    # An iterative scan continues until it has enough rows that pass the filter. Without it, HNSW filters its first
    # forty candidates, and usually returns none of them when the filter keeps 1 %.
    return text(f"""
        SELECT model, dimensions, language, chunk_count, term_count,
            CAST({filtered_count if where else "chunk_count"} AS bigint) AS wanted,
            (
                SELECT CAST(greatest(reltuples, 0) AS bigint) FROM pg_class
                WHERE oid = to_regclass('ix_chunks_embedding_' || language)
            ) AS indexed,
            asked.terms, asked.frequencies,
            set_config('hnsw.iterative_scan', 'relaxed_order', false), set_config('hnsw.ef_search', :ef_search, false)
        FROM search_index
        CROSS JOIN (
            SELECT array_agg(term) AS terms, array_agg(chunk_count) AS frequencies FROM terms
            WHERE term = ANY(:terms)
        ) AS asked
        LEFT JOIN corpora ON owner_id = :owner AND chunk_count > 0
    """)  # noqa: S608  no value in it
