"""The full-text half of the search: BM25 over the postings, in one SQL statement."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any

from project3_rag_docs.search.statistics import Corpus, scope_condition

# BM25's two usual constants (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, section 3.5).
_K1, _B = 1.2, 0.75
# Maximum postings that are read to select candidates; any further ones belong to the most common terms.
_MAX_POSTINGS = 20_000
# Candidates per hit when only the rarer terms select them.
_CANDIDATES_PER_HIT = 4


@dataclass(frozen=True)
class BM25Query:
    """A ranking of chunks by BM25.

    Attributes:
        rare: By term key, the weights of the terms that select candidates.
        common: The weights of the other terms, which only add to the score of a candidate.
    """

    corpus: Corpus
    rare: Mapping[int, float]
    common: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def for_terms(cls, corpus: Corpus, frequencies: Mapping[int, int], limit: int) -> "BM25Query":
        """Create the query for terms that occur in the given number of chunks each.

        Terms that occur in a large part of all chunks carry little weight and have the longest lists of postings. So
        the rarer terms select the candidates, as long as there are enough of these; a chunk with only common terms
        would hardly be among the best (the idea of MaxScore: Turtle and Flood, "Query evaluation: strategies and
        optimizations", 1995).
        """
        rare: dict[int, float] = {}
        common: dict[int, float] = {}
        postings, longest = 0, 0
        share_in_scope = corpus.in_scope_count / corpus.chunk_count
        for term, chunks in sorted(frequencies.items(), key=lambda item: item[1]):
            weight = _weight(corpus, chunks)
            postings += chunks
            if postings * share_in_scope <= _MAX_POSTINGS or longest * share_in_scope < limit * _CANDIDATES_PER_HIT:
                rare[term] = weight
                longest = chunks
            else:
                common[term] = weight
        return cls(corpus, rare, common)

    def exhaustive(self) -> "BM25Query":
        """Return the query in which every term selects candidates."""
        return BM25Query(self.corpus, {**self.rare, **self.common})

    def sql(self, where: str) -> str:
        """Return the statement for a scope with a condition, or an empty one; it yields document, chunk and score."""
        terms = "unnest(CAST(:{0} AS bigint[]), CAST(:{0}_weights AS float8[])) AS asked (term, weight)"
        rare, common = terms.format("rare"), terms.format("common")
        score = "sum(weight * frequency / (frequency + CAST(:flat AS float8) + CAST(:slope AS float8) * length))"
        found = f"""
            SELECT document, chunk, {score} AS score FROM {rare} JOIN postings USING (term)
            WHERE {scope_condition("document", "number", where)}
            GROUP BY document, chunk ORDER BY score DESC, document, chunk
        """  # noqa: S608  no value in it
        if not self.common:
            return f"{found} LIMIT :limit"
        return f"""
            WITH candidates AS MATERIALIZED ({found} LIMIT :candidates)
            SELECT document, chunk, score + coalesce((
                SELECT {score} FROM {common} JOIN postings USING (term)
                WHERE postings.document = candidates.document AND postings.chunk = candidates.chunk
            ), 0) AS score
            FROM candidates ORDER BY score DESC, document, chunk LIMIT :limit
        """  # noqa: S608  no value in it

    def parameters(self, limit: int) -> dict[str, Any]:
        """Return the statement's values."""
        values = {
            "rare": list(self.rare),
            "rare_weights": list(self.rare.values()),
            "flat": _K1 * (1 - _B),
            "slope": _K1 * _B / self.corpus.average_length,
        }
        if self.common:
            common = {"common": list(self.common), "common_weights": list(self.common.values())}
            values |= common | {"candidates": limit * _CANDIDATES_PER_HIT}
        return values


def max_score(corpus: Corpus, terms: Collection[int], frequencies: Mapping[int, int]) -> float:
    """Return the limit of the score of a chunk that contains all terms of a query, those that no chunk has included."""
    return sum(_weight(corpus, frequencies.get(term, 0)) for term in terms)


def _weight(corpus: Corpus, chunks: int) -> float:
    """Return Lucene's idf of a term in a number of chunks, which is never negative, times the maximum of the rest."""
    return log(1 + (max(corpus.chunk_count, chunks) - chunks + 0.5) / (chunks + 0.5)) * (_K1 + 1)
