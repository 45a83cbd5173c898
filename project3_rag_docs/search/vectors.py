"""The vector half of the search: cosine similarity of embeddings, by index or by exact scan, in one SQL statement."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from project3_rag_docs.search.statistics import Corpus, scope_condition


@dataclass(frozen=True)
class VectorQuery:
    """A ranking of the chunks in one language by cosine similarity.

    Attributes:
        exact: Whether every vector in the scope is compared; otherwise the HNSW index is searched.
        vector: A literal; see `vector_literal`.
    """

    corpus: Corpus
    exact: bool
    vector: str

    def exhaustive(self) -> "VectorQuery":
        """Return the query that compares every vector."""
        return replace(self, exact=True)

    def sql(self, where: str) -> str:
        """Return the statement for a scope with a condition, or an empty one; it yields document, chunk and cosine."""
        # The language is a literal: with a parameter, PostgreSQL could not use the partial index of the language.
        vector = f"CAST(:{self._parameter} AS halfvec)"
        nearest = f"""
            SELECT document_id, index, embedding <=> {vector} AS distance FROM chunks
            WHERE owner_id = :owner AND language = '{self.corpus.language}'
                AND {scope_condition("document_id", "id", where)}
        """  # noqa: S608  no value in it
        if not self.exact:
            nearest += f"ORDER BY embedding <=> {vector} LIMIT :limit"
        # The distance of a zero vector is NaN.
        return f"""
            WITH nearest AS MATERIALIZED ({nearest})
            SELECT number, index, coalesce(nullif(1 - distance, 'NaN'), -1)
            FROM (SELECT * FROM nearest ORDER BY distance LIMIT :limit) AS first JOIN documents ON id = document_id
        """  # noqa: S608  no value in it

    def parameters(self, limit: int) -> dict[str, Any]:
        """Return the statement's own values."""
        del limit
        return {self._parameter: self.vector}

    @property
    def _parameter(self) -> str:
        return f"vector_{self.corpus.language}"


def vector_literal(embedding: Iterable[float]) -> str:
    """Return a vector as a PostgreSQL literal."""
    return f"[{','.join(map(str, embedding))}]"
