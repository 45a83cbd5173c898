"""The statements of a search: what there is to be found, the rankings by words and by meaning, the texts of the hits.

A search is three of them, because each is a round trip: `facts_of`, `rank`, `texts_of`. The writing side is `index.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import log
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from project3_rag_docs.search.lexical import Language

# BM25's two usual constants (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, section 3.5).
_K1, _B = 1.2, 0.75
# How many postings are read to find candidates; what more there would be belongs to the commonest of the words.
_MOST_POSTINGS = 20_000
# How much further the first ranking goes that looks at the rarer words only.
_CANDIDATES_PER_HIT = 4
# Measured on 100,000 chunks: meeting a vector on the way through the graph takes as long as comparing so many.
_WALK_COST = 7
# How many vectors a walk keeps in view. Measured on 100,000 chunks: recall@10 .967 with 100, .987 with 200.
_EF_SEARCH = 200


@dataclass(frozen=True)
class Scope:
    """What may be found: all that an owner has ready, or some documents of it.

    Attributes:
        owner_id: Whose.
        document_ids: Which; None for all.
    """

    owner_id: UUID
    document_ids: Sequence[UUID] | None = None

    def parameters(self) -> dict[str, Any]:
        """Return the values for `_in_scope`."""
        given = {} if self.document_ids is None else {"ids": list(self.document_ids)}
        return {"owner": self.owner_id, **given}


def _in_scope(column: str, of: str, *, some: bool) -> str:
    """Return SQL that says whether a column (the document's `id` or `number`, as `of` says) is in the scope.

    The documents that are left out are few, those that are asked for likewise: either list is made once.
    """
    if some:
        return (
            f"{column} IN (SELECT {of} FROM documents"  # noqa: S608  no value in it
            " WHERE owner_id = :owner AND status = 'ready' AND id = ANY(:ids))"
        )
    return f"{column} NOT IN (SELECT {of} FROM documents WHERE owner_id = :owner AND status <> 'ready')"  # noqa: S608  no value in it


@dataclass(frozen=True)
class Corpus:
    """What there is in one language.

    Attributes:
        language: Which.
        chunk_count: How many chunks the owner has.
        average_length: How many terms these have.
        wanted: How many of them are in the scope.
        indexed: How many there are, whoever's. An estimate of PostgreSQL's.
    """

    language: Language
    chunk_count: int
    average_length: float
    wanted: int
    indexed: int

    def exactly(self, limit: int) -> bool:
        """Say whether to compare every vector in the scope rather than to walk the graph of the index.

        Walking it costs more the fewer of the vectors that it meets are in the scope: to find `limit` of them it has to
        meet `limit * indexed / wanted`. Comparing costs `wanted`.
        """
        return self.wanted * self.wanted <= _WALK_COST * limit * max(self.indexed, self.wanted)


@dataclass(frozen=True)
class Facts:
    """What a search has to know beforehand.

    Attributes:
        made_with: The model whose embeddings are stored, and their dimensions; None where nothing was ever stored.
        corpora: What may be found, by language; nothing for a language in which there is nothing.
        frequencies: In how many of the owner's chunks each of the terms stands.
    """

    made_with: tuple[str, int] | None
    corpora: Mapping[Language, Corpus]
    frequencies: Mapping[int, int]


async def facts_of(session: AsyncSession, scope: Scope, terms: Sequence[int], limit: int) -> Facts:
    """Look up what there is, and prepare the connection for walks that may have to find `limit` chunks.

    Args:
        session: For the statement.
        scope: What may be found.
        terms: The keys of the query's terms.
        limit: The most that a ranking will be asked for.
    """
    parameters = scope.parameters() | {"terms": terms, "ef_search": str(max(_EF_SEARCH, limit))}
    rows = (await session.execute(_facts(some=scope.document_ids is not None), parameters)).all()
    if not rows:
        return Facts(None, {}, {})
    corpora = {
        Language(row.language): Corpus(
            Language(row.language), row.chunk_count, max(1.0, row.term_count / row.chunk_count), row.wanted, row.indexed
        )
        for row in rows
        if row.wanted
    }
    known = dict(zip(rows[0].terms or (), rows[0].frequencies or (), strict=True))
    return Facts((rows[0].model, rows[0].dimensions), corpora, known)


@lru_cache
def _facts(*, some: bool) -> TextClause:
    in_some = """(
        SELECT coalesce(sum(there.chunk_count), 0) FROM documents JOIN document_languages AS there ON document_id = id
        WHERE owner_id = :owner AND status = 'ready' AND id = ANY(:ids) AND there.language = corpora.language
    )"""
    # An iterative scan goes on until it has met enough rows that are wanted; without it, HNSW returns what is wanted
    # of its first forty: none, as a rule, where 1 % is.
    return text(f"""
        SELECT model, dimensions, language, chunk_count, term_count,
            CAST({in_some if some else "chunk_count"} AS bigint) AS wanted,
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


class Found(NamedTuple):
    """A chunk in one ranking: its document's number, its index there, and how near it is (by meaning: the cosine)."""

    document: int
    chunk: int
    score: float

    @property
    def key(self) -> tuple[int, int]:
        """What tells chunks apart."""
        return self.document, self.chunk


@dataclass(frozen=True)
class ByWords:
    """A ranking by BM25.

    Attributes:
        corpus: Of the query's language.
        rare: The weights of the terms that a chunk is found by, by their keys.
        common: Those of the others: they count where a chunk was found.
    """

    corpus: Corpus
    rare: Mapping[int, float]
    common: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, corpus: Corpus, frequencies: Mapping[int, int], limit: int) -> "ByWords":
        """Make the ranking for terms that stand in so many chunks each.

        Words that stand in a large part of all chunks say next to nothing, and have the longest lists of postings. So
        chunks are looked for by the rarer ones, as long as these bring enough; a chunk that has only common words
        would hardly be among the best (the idea of MaxScore: Turtle and Flood, "Query evaluation: strategies and
        optimizations", 1995).
        """
        rare: dict[int, float] = {}
        common: dict[int, float] = {}
        postings, longest = 0, 0
        for term, chunks in sorted(frequencies.items(), key=lambda item: item[1]):
            # The form of idf that is never negative (Lucene's).
            weight = log(1 + (max(corpus.chunk_count, chunks) - chunks + 0.5) / (chunks + 0.5)) * (_K1 + 1)
            share = corpus.wanted / corpus.chunk_count
            postings += chunks
            if postings * share <= _MOST_POSTINGS or longest * share < limit * _CANDIDATES_PER_HIT:
                rare[term] = weight
                longest = chunks
            else:
                common[term] = weight
        return cls(corpus, rare, common)

    def exhausted(self) -> "ByWords":
        """Return the ranking that finds chunks by every term."""
        return ByWords(self.corpus, {**self.rare, **self.common})

    @property
    def form(self) -> "_Words":
        """The statement without its values."""
        return _Words(common=bool(self.common))

    def parameters(self, limit: int) -> dict[str, Any]:
        """Return its values."""
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


@dataclass(frozen=True)
class ByMeaning:
    """A ranking by the cosine, of what is written in one language.

    Attributes:
        corpus: Of that language.
        exactly: Whether every vector is compared; otherwise the graph of the index is walked.
    """

    corpus: Corpus
    exactly: bool

    def exhausted(self) -> "ByMeaning":
        """Return the ranking that compares every vector."""
        return ByMeaning(self.corpus, exactly=True)

    @property
    def form(self) -> "_Meaning":
        """The statement without its values."""
        return _Meaning(self.corpus.language, self.exactly)

    def parameters(self, limit: int) -> dict[str, Any]:
        """Return its values; the vector is the same for all."""
        del limit
        return {}


Ranking = ByWords | ByMeaning


async def rank(
    session: AsyncSession, scope: Scope, rankings: Sequence[Ranking], vector: str, limit: int
) -> list[list[Found]]:
    """Make some rankings, all from one state of the database.

    Args:
        session: One that `facts_of` has prepared.
        scope: What may be found.
        rankings: Which; by words at most once.
        vector: The query's embedding (`vector_text`).
        limit: The length of each.

    Returns:
        For each ranking the chunks, the best first.
    """
    made = await _rank(session, scope, rankings, vector, limit)
    # A walk gives up after some time, and the rare words may stand elsewhere only.
    short = [
        number
        for number, (ranking, found) in enumerate(zip(rankings, made, strict=True))
        if len(found) < min(limit, ranking.corpus.wanted) and ranking.exhausted() != ranking
    ]
    if short:
        again = await _rank(session, scope, [rankings[number].exhausted() for number in short], vector, limit)
        for number, found in zip(short, again, strict=True):
            made[number] = found
    return made


async def _rank(
    session: AsyncSession, scope: Scope, rankings: Sequence[Ranking], vector: str, limit: int
) -> list[list[Found]]:
    made: list[list[Found]] = [[] for _ in rankings]
    if rankings:
        parameters = scope.parameters() | {"limit": limit, "vector": vector}
        for ranking in rankings:
            parameters |= ranking.parameters(limit)
        statement = _union(tuple(ranking.form for ranking in rankings), some=scope.document_ids is not None)
        for number, document, chunk, score in (await session.execute(statement, parameters)).all():
            made[number].append(Found(document, chunk, score))
    return made


@lru_cache
def _union(forms: Sequence["_Words | _Meaning"], *, some: bool) -> TextClause:
    parts = [
        f"SELECT {number}, made.* FROM ({form.sql(some=some)}) AS made (document, chunk, score)"  # noqa: S608  no value in it
        for number, form in enumerate(forms)
    ]
    return text(" UNION ALL ".join(parts) + " ORDER BY 1, score DESC, document, chunk")


@dataclass(frozen=True)
class _Words:
    """What the statement of a ranking by words depends on, besides its values."""

    common: bool

    def sql(self, *, some: bool) -> str:
        """Return it."""
        terms = "unnest(CAST(:{0} AS bigint[]), CAST(:{0}_weights AS float8[])) AS asked (term, weight)"
        rare, common = terms.format("rare"), terms.format("common")
        score = "sum(weight * frequency / (frequency + CAST(:flat AS float8) + CAST(:slope AS float8) * length))"
        found = f"""
            SELECT document, chunk, {score} AS score FROM {rare} JOIN postings USING (term)
            WHERE {_in_scope("document", "number", some=some)}
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


@dataclass(frozen=True)
class _Meaning:
    """The same for a ranking by meaning."""

    language: Language
    exactly: bool

    def sql(self, *, some: bool) -> str:
        """Return it."""
        # The language as a literal: a parameter would not be known to be the index's own condition.
        nearest = f"""
            SELECT document_id, index, embedding <=> CAST(:vector AS halfvec) AS distance FROM chunks
            WHERE owner_id = :owner AND language = '{self.language}' AND {_in_scope("document_id", "id", some=some)}
        """  # noqa: S608  no value in it
        if not self.exactly:
            nearest += "ORDER BY embedding <=> CAST(:vector AS halfvec) LIMIT :limit"
        # A vector of zeros is at no distance from anything, not even in numbers.
        return f"""
            WITH nearest AS MATERIALIZED ({nearest})
            SELECT number, index, coalesce(nullif(1 - distance, 'NaN'), -1)
            FROM (SELECT * FROM nearest ORDER BY distance LIMIT :limit) AS first JOIN documents ON id = document_id
        """  # noqa: S608  no value in it


def vector_text(embedding: Iterable[float]) -> str:
    """Return a vector as PostgreSQL reads it."""
    return f"[{','.join(map(str, embedding))}]"


@dataclass(frozen=True)
class Hit:
    """A chunk that was found. A higher score is better; scores of two searches cannot be compared.

    `similarity` is the cosine of its embedding with the query's; None where the chunk was found by its words alone.
    """

    chunk_id: UUID
    document_id: UUID
    filename: str
    page: int | None
    heading: str | None
    text: str
    score: float
    similarity: float | None = None


async def texts_of(
    session: AsyncSession, ranked: Sequence[tuple[int, int]], k: int, similar: Mapping[tuple[int, int], float]
) -> list[Hit]:
    """Read the first `k` chunks of a ranking, in its order. Documents that were deleted since are left out.

    Args:
        session: For the statement.
        ranked: The keys of the chunks, the best first.
        k: How many, at most.
        similar: The cosines of those that were found by meaning.
    """
    parameters = {
        "documents": [document for document, _ in ranked],
        "chunks": [chunk for _, chunk in ranked],
        "k": k,
    }
    rows = (await session.execute(_TEXTS, parameters)).mappings()
    hits = []
    for place, row in enumerate(rows, start=1):
        shown = dict(row)
        similarity = similar.get((shown.pop("number"), shown.pop("index")))
        hits.append(Hit(**shown, score=1 / place, similarity=similarity))
    return hits


_TEXTS = text("""
    SELECT number, index, chunks.id AS chunk_id, documents.id AS document_id, filename, page, heading, text
    FROM unnest(CAST(:documents AS int[]), CAST(:chunks AS int[])) WITH ORDINALITY AS wanted (document, chunk, place)
    JOIN documents ON documents.number = wanted.document AND status = 'ready'
    JOIN chunks ON chunks.document_id = documents.id AND chunks.index = wanted.chunk
    ORDER BY place LIMIT :k
""")
