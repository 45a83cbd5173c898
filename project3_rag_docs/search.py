"""Hybrid search: by words (BM25) and by meaning (vectors), fused.

    query ─┬─ BM25, the query's language ────┐
           ├─ vectors, the query's language ─┴─ reciprocal rank fusion ─┐
           └─ vectors, the other language ── those that are good ───────┴─ interleaved

Plain fusion of all three would bury what is written in the other language: it has no word in common with the query, so
only one of the rankings can ever name it. Measured on a bilingual index: nDCG@10 .628 fused plainly, .92 so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any
from uuid import UUID

from langchain_core.embeddings import Embeddings
from pgvector import HalfVector
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from project3_rag_docs.index import made_with, term_key
from project3_rag_docs.lexical import Language, analyse
from shared.database import Sessions, transaction
from shared.errors import NotReady

# What each ranking brings in, at least; the fusion of short rankings would miss what is tenth in both.
_CANDIDATES = 50
_FIRST = 10
# Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual rank learning methods"
# (SIGIR 2009), which found 60 to serve any collection.
_RRF_K = 60
# BM25's two usual constants (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, section 3.5).
_K1, _B = 1.2, 0.75


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


@dataclass(frozen=True)
class Found:
    """A chunk in one ranking: its document's number, its index there, and how near it is (by meaning: the cosine)."""

    document: int
    chunk: int
    score: float

    @property
    def key(self) -> tuple[int, int]:
        """What tells chunks apart."""
        return self.document, self.chunk


@dataclass(frozen=True)
class Searcher:
    """Searches one owner's documents at a time.

    Attributes:
        sessions: Of the database.
        embeddings: Of the model with which the index was made.
        model: Its name.
        dimensions: Of its vectors.
        query_prefix: What it wants before a question.
    """

    sessions: Sessions
    embeddings: Embeddings
    model: str
    dimensions: int
    query_prefix: str

    async def search(
        self, owner_id: UUID, query: str, *, k: int, document_ids: Sequence[UUID] | None = None
    ) -> list[Hit]:
        """Find the chunks that fit a query best.

        Args:
            owner_id: Whose documents.
            query: In whatever language.
            k: How many, at most.
            document_ids: Only of these documents; None for all.

        Returns:
            The best first. All come from one state of the database.

        Raises:
            NotReady: if the index was made with another model.
            ModelUnavailable, ModelTimeout, DatabaseUnavailable: see `shared.errors`.
        """
        # No connection is held while the model is awaited.
        embedding = await self.embeddings.aembed_query(self.query_prefix + query)
        async with transaction(self.sessions) as session:
            await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            made = await made_with(session)
            if made is None:
                return []  # nothing was ever stored
            if made != (self.model, self.dimensions):
                raise NotReady("The documents were embedded by another model. They have to be indexed again.")
            return await search(session, owner_id, query, embedding, k=k, document_ids=document_ids)


async def search(
    session: AsyncSession,
    owner_id: UUID,
    query: str,
    embedding: Sequence[float],
    *,
    k: int,
    document_ids: Sequence[UUID] | None = None,
) -> list[Hit]:
    """Find chunks, given the embedding of the query: all of the search but the model."""
    corpora = await corpora_of(session, owner_id)
    if not corpora:
        return []
    scope = await scope_of(session, owner_id, document_ids, sum(corpus.chunk_count for corpus in corpora.values()))
    if scope.size == 0:
        return []
    analysis = analyse(query)
    limit = max(_CANDIDATES, 2 * k)
    own: list[list[Found]] = []
    foreign: list[Found] = []
    similar: list[Found] = []
    vector = vector_text(embedding)
    for language, corpus in corpora.items():
        if language == analysis.language:
            alike = await by_meaning(session, scope, corpus, vector, limit)
            own += [await by_words(session, scope, corpus, analysis.terms, limit), alike]
        else:
            alike = foreign = await by_meaning(session, scope, corpus, vector, limit)
        similar += alike
    mixed = interleave(fuse(own), good_ones(foreign))
    ranked = dict.fromkeys([*mixed, *(found.key for found in foreign)])  # the others at the end: rather they than none
    return await hits_of(session, list(ranked)[:k], {found.key: found.score for found in similar})


def fuse(rankings: Sequence[Sequence[Found]]) -> list[tuple[int, int]]:
    """Fuse rankings by reciprocal ranks.

    Returns:
        The keys of all chunks in them, the best first.
    """
    scores: dict[tuple[int, int], float] = {}
    for ranking in rankings:
        for rank, found in enumerate(ranking, start=1):
            scores[found.key] = scores.get(found.key, 0.0) + 1 / (_RRF_K + rank)
    return sorted(scores, key=lambda key: -scores[key])


def good_ones(foreign: Sequence[Found]) -> list[Found]:
    """Return the hits in the other language that are worth a place among those in the query's.

    A model gives two texts of one language a higher cosine than two that mean the same in two languages, so foreign
    hits cannot be measured by the own ones. They are measured by each other: good is what stands out, at least half as
    far as the best does, from the run of what is found after the first ten. Measured on a bilingual index (XQuAD, each
    passage in both languages): four hits on average, nDCG@10 .93 and .90, as good as taking all fifty.
    """
    if not foreign:
        return []
    rest = foreign[_FIRST:] or foreign[-1:]
    usual = sum(found.score for found in rest) / len(rest)
    bar = usual + (foreign[0].score - usual) / 2
    return [found for found in foreign if found.score >= bar]


def interleave(first: Sequence[tuple[int, int]], second: Iterable[Found]) -> list[tuple[int, int]]:
    """Take from two rankings in turn, the first of the first one first."""
    pairs = zip_longest(first, (found.key for found in second))
    return [key for pair in pairs for key in pair if key is not None]


@dataclass(frozen=True)
class CorpusSize:
    """What an owner has in one language: how many chunks, and how many terms these have on average."""

    language: Language
    chunk_count: int
    average_length: float


@dataclass(frozen=True)
class Scope:
    """What may be found: all that an owner has ready, or some documents of it.

    Attributes:
        owner_id: Whose.
        document_ids: Which; None for all.
        size: How many chunks these are.
        total: How many the whole index has, whoever's.
    """

    owner_id: UUID
    document_ids: Sequence[UUID] | None
    size: int
    total: int

    def condition(self, column: str, of: str) -> str:
        """Return SQL that says whether a column (the document's `id` or `number`, as `of` says) is in the scope.

        The documents that are left out are few, those that are asked for likewise: either list is made once.
        """
        if self.document_ids is None:
            return f"{column} NOT IN (SELECT {of} FROM documents WHERE owner_id = :owner AND status <> 'ready')"  # noqa: S608  no value in it
        return (
            f"{column} IN (SELECT {of} FROM documents"  # noqa: S608  no value in it
            " WHERE owner_id = :owner AND status = 'ready' AND id = ANY(:ids))"
        )

    def parameters(self) -> dict[str, Any]:
        """Return the values for it."""
        given = {} if self.document_ids is None else {"ids": list(self.document_ids)}
        return {"owner": self.owner_id, **given}

    def exactly(self, limit: int) -> bool:
        """Say whether to compare every vector in the scope rather than to walk the graph of the index.

        Walking it costs more the fewer of the vectors that it meets are in the scope: to find `limit` of them it has to
        meet `limit * total / size`. Comparing costs `size`. Measured on 100,000 chunks, meeting one takes about
        `_WALK_COST` times as long as comparing one.
        """
        return self.size * self.size <= _WALK_COST * limit * self.total


_WALK_COST = 7


async def corpora_of(session: AsyncSession, owner_id: UUID) -> dict[Language, CorpusSize]:
    """Return what an owner has, by language; nothing for one in which there is nothing."""
    rows = await session.execute(
        text("SELECT language, chunk_count, term_count FROM corpora WHERE owner_id = :owner AND chunk_count > 0"),
        {"owner": owner_id},
    )
    return {
        Language(language): CorpusSize(Language(language), chunk_count, max(1.0, term_count / chunk_count))
        for language, chunk_count, term_count in rows
    }


async def scope_of(session: AsyncSession, owner_id: UUID, document_ids: Sequence[UUID] | None, size: int) -> Scope:
    """Say what may be found: all `size` chunks of an owner, or those of some documents."""
    if document_ids is not None:
        statement = text("""
            SELECT coalesce(sum(chunk_count), 0) FROM documents
            WHERE owner_id = :owner AND status = 'ready' AND id = ANY(:ids)
        """)
        size = await session.scalar(statement, {"owner": owner_id, "ids": list(document_ids)}) or 0
    # An estimate, kept by autovacuum; before its first visit it is -1.
    estimate = await session.scalar(text("SELECT reltuples FROM pg_class WHERE oid = 'chunks'::regclass"))
    return Scope(owner_id, document_ids, int(size), max(int(size), int(estimate or 0)))


async def by_words(
    session: AsyncSession, scope: Scope, corpus: CorpusSize, terms: Iterable[str], limit: int
) -> list[Found]:
    """Rank by BM25, with the form of idf that is never negative (Lucene's)."""
    statement = text(f"""
        WITH found AS MATERIALIZED (
            SELECT term, document, chunk, frequency, length FROM postings
            WHERE term = ANY(:terms) AND {scope.condition("document", of="number")}
        ), weights AS (
            SELECT term, CAST(
                ln(1 + (greatest(:chunks, count(*)) - count(*) + 0.5) / (count(*) + 0.5)) AS double precision
            ) AS idf
            FROM found GROUP BY term
        )
        SELECT document, chunk,
            sum(idf * frequency * (:k1 + 1) / (frequency + :k1 * (1 - :b + :b * length / :average))) AS score
        FROM found JOIN weights USING (term)
        GROUP BY document, chunk ORDER BY score DESC, document, chunk LIMIT :limit
    """)  # noqa: S608  no value in it
    parameters = scope.parameters() | {
        "terms": [term_key(scope.owner_id, corpus.language, term) for term in terms],
        "chunks": min(corpus.chunk_count, scope.size),
        "average": corpus.average_length,
        "k1": _K1,
        "b": _B,
        "limit": limit,
    }
    return [Found(*row) for row in await session.execute(statement, parameters)]


async def by_meaning(session: AsyncSession, scope: Scope, corpus: CorpusSize, vector: str, limit: int) -> list[Found]:
    """Rank by the cosine, in one language."""
    wanted = f"owner_id = :owner AND language = :language AND {scope.condition('document_id', of='id')}"
    parameters = scope.parameters() | {"language": corpus.language, "vector": vector, "limit": limit}
    if not scope.exactly(limit):
        found = await _walk(session, wanted, parameters)
        if len(found) == limit:
            return found
    compare = text(f"""
        WITH wanted AS MATERIALIZED (SELECT document_id, index, embedding FROM chunks WHERE {wanted}),
        nearest AS (
            SELECT document_id, index, embedding <=> CAST(:vector AS halfvec) AS distance
            FROM wanted ORDER BY distance LIMIT :limit
        )
        SELECT number, index, 1 - distance FROM nearest JOIN documents ON documents.id = document_id ORDER BY distance
    """)  # noqa: S608  no value in it
    return [Found(*row) for row in await session.execute(compare, parameters)]


async def _walk(session: AsyncSession, wanted: str, parameters: dict[str, Any]) -> list[Found]:
    # An iterative scan goes on until it has met enough rows that are wanted; without it, HNSW returns what is wanted
    # of its first forty: none, as a rule, where 1 % is. Measured on 100,000 chunks: recall@10 .967 at 100, .987 at 200.
    await session.execute(
        text("SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', :n, true)"),
        {"n": str(max(200, parameters["limit"]))},
    )
    statement = text(f"""
        WITH nearest AS MATERIALIZED (
            SELECT document_id, index, embedding <=> CAST(:vector AS halfvec) AS distance FROM chunks
            WHERE {wanted} ORDER BY embedding <=> CAST(:vector AS halfvec) LIMIT :limit
        )
        SELECT number, index, 1 - distance FROM nearest JOIN documents ON documents.id = document_id ORDER BY distance
    """)  # noqa: S608  no value in it
    return [Found(*row) for row in await session.execute(statement, parameters)]


def vector_text(embedding: Sequence[float]) -> str:
    """Return a vector as PostgreSQL reads it."""
    return HalfVector(list(embedding)).to_text()


async def hits_of(
    session: AsyncSession, ranked: Sequence[tuple[int, int]], similarities: Mapping[tuple[int, int], float]
) -> list[Hit]:
    """Read the chunks of a ranking, in its order.

    Args:
        session: For the query.
        ranked: The keys of chunks, the best first.
        similarities: The cosines that are known of them.
    """
    statement = text("""
        SELECT chunks.id AS chunk_id, documents.id AS document_id, filename, page, heading, text FROM documents
        JOIN chunks ON chunks.document_id = documents.id
        JOIN unnest(CAST(:documents AS int[]), CAST(:chunks AS int[])) WITH ORDINALITY
            AS wanted (document, chunk, place)
            ON documents.number = wanted.document AND chunks.index = wanted.chunk
        ORDER BY place
    """)
    parameters = {"documents": [document for document, _ in ranked], "chunks": [chunk for _, chunk in ranked]}
    rows = (await session.execute(statement, parameters)).mappings()
    return [
        Hit(**row, score=1 / rank, similarity=similarities.get(key))
        for rank, (key, row) in enumerate(zip(ranked, rows, strict=True), start=1)
    ]
