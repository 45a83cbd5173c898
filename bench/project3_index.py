"""A large collection of stage 3 in a database, searched with the service's own code in this process."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from bench import corpus, project3_model
from bench.corpus import Query
from bench.databases import migrated_database
from bench.rates import Times
from project3_rag_docs.search.index import claim_index
from project3_rag_docs.search.lexical import Language
from project3_rag_docs.search.rankings import run_queries
from project3_rag_docs.search.service import Searcher
from project3_rag_docs.search.statistics import Corpus, Scope, load_statistics
from project3_rag_docs.search.vectors import VectorQuery, vector_literal
from project3_rag_docs.settings import Settings
from shared.database.engine import create_engine, create_session_factory, read_session, transaction
from shared.owner import LOCAL_OWNER_ID

PACKAGE = "project3_rag_docs"
POOL_SIZE = int(Settings.model_fields["db_pool_size"].default)
EVERYTHING = Scope(LOCAL_OWNER_ID)
K = 10
LIMIT = 50  # length of a ranking when ten hits are requested


Statement = tuple[str, Any]


class Scripted(Embeddings):
    """The prepared vectors of the questions, without a server."""

    def __init__(self, questions: Sequence[Query]) -> None:
        self._vectors: dict[str, list[float]] = {question.text: question.vector.tolist() for question in questions}

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return self._vectors[text]

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return self._vectors[text]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of questions."""
        return [self._vectors[text] for text in texts]


class Index:
    """A collection in a database, searched in this process with the service's code."""

    def __init__(
        self, engine: AsyncEngine, made: corpus.Corpus, ids: Sequence[UUID], questions: Sequence[Query]
    ) -> None:
        self.engine = engine
        self.sessions = async_sessionmaker(engine)
        self.corpus = made
        self.ids = ids
        self.questions = questions
        self._embeddings = Scripted(questions)
        self._vectors = made.vectors.astype(np.float32)
        self._chinese = made.languages()

    async def statements(self, question: Query) -> list[Statement]:
        """Return the statements that the service sends for a question, in order."""
        searcher = Searcher(self.sessions, self._embeddings, project3_model.MODEL, corpus.DIMENSIONS, query_prefix="")
        with self.recorded() as seen:
            await searcher.search(LOCAL_OWNER_ID, question.text, k=K)
        return seen

    @contextmanager
    def recorded(self) -> Iterator[list[Statement]]:
        """Record the statements that are executed in the block."""
        seen: list[Statement] = []

        def before(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:  # noqa: ANN401  the parameters of any statement
            seen.append((statement, parameters))

        event.listen(self.engine.sync_engine, "before_cursor_execute", before)
        try:
            yield seen
        finally:
            event.remove(self.engine.sync_engine, "before_cursor_execute", before)

    def nearest(self, question: Query, language: Language, documents: NDArray[np.int64] | None) -> set[tuple[int, int]]:
        """Return the ten nearest chunks, as document and chunk indices, by comparing all vectors."""
        size = self.corpus.chunks_per_document
        wanted = self._chinese == (language == Language.ZH)
        if documents is not None:
            wanted &= np.isin(np.arange(self.corpus.size) // size, documents)
        places = np.flatnonzero(wanted)
        cosines = self._vectors[places] @ question.vector
        best = places[np.argsort(-cosines)[:K]]
        return {(int(place) // size, int(place) % size) for place in best}

    def ids_of(self, documents: NDArray[np.int64]) -> list[UUID]:
        """Return the ids of some documents."""
        return [self.ids[number] for number in documents]


@asynccontextmanager
async def filled(
    server: str, documents: int, chunks_per_document: int, questions: int
) -> AsyncIterator[tuple[str, Index, float]]:
    """Fill a database with a collection; yield its URL, an index for this process, and the seconds that it took."""
    with migrated_database(server, "bench_scale", PACKAGE) as address:
        made = corpus.Corpus(documents, chunks_per_document)
        started = perf_counter()
        settings = Settings.model_validate({name.lower(): value for name, value in environment(address, 9).items()})
        engine = create_engine(settings, statement_timeout=60)
        async with transaction(create_session_factory(engine)) as session:
            await claim_index(session, settings)
        ids = corpus.fill(address, made)
        corpus.publish_all(address)
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE) documents, document_languages, corpora, terms")
        took = perf_counter() - started
        try:
            yield address, Index(engine, made, ids, made.queries(questions)), took
        finally:
            await engine.dispose()


def environment(address: str, model_port: int) -> dict[str, str]:
    """Return the environment of the service."""
    return {
        "APP_ENV": "production",
        "DATABASE_URL": address,
        "DB_POOL_SIZE": str(POOL_SIZE),
        "OPENAI_BASE_URL": f"http://127.0.0.1:{model_port}/v1",
        "LLM_MODEL": "none",
        "EMBEDDING_MODEL": project3_model.MODEL,
        "EMBEDDING_DIMENSIONS": str(corpus.DIMENSIONS),
    }


async def ranked(
    index: Index, scope: Scope, question: Query, language: Language, exactly: bool | None = None
) -> tuple[set[tuple[int, int]], float, list[Statement], Corpus]:
    """Run a vector query; return the first ten chunks, the milliseconds, the statements, and the corpus.

    `exactly` selects an exact scan or an index search; None leaves the choice to the service.
    """
    async with read_session(index.sessions) as session:
        sizes = (await load_statistics(session, scope, [], LIMIT)).corpora[language]
        exact = sizes.prefers_exact_scan(LIMIT) if exactly is None else exactly
        by_meaning = VectorQuery(sizes, exact, vector_literal(question.vector.tolist()))
        with index.recorded() as statements:
            started = perf_counter()
            [found] = await run_queries(session, scope, [by_meaning], LIMIT)
            ms = (perf_counter() - started) * 1000
        # Document numbers start at 1.
        return {(one.document - 1, one.chunk) for one in found[:K]}, ms, statements, sizes


@dataclass(frozen=True)
class TableRead:
    """How PostgreSQL reads a table in a statement: node types, indexes, rows, and rows fetched besides an index."""

    kind: str
    index: str
    rows: int
    fetched: int


async def explain(connection: psycopg.AsyncConnection[Any], statement: Statement, relation: str) -> TableRead:
    """Return how PostgreSQL reads a table in a statement, by EXPLAIN."""
    command = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement[0]}"
    cursor = await connection.execute(command.encode(), statement[1])
    row = await cursor.fetchone()
    nodes = [node for node in _nodes(row[0][0]["Plan"]) if node.get("Relation Name") == relation] if row else []
    rows = [round(node["Actual Rows"] * node["Actual Loops"]) for node in nodes]
    return TableRead(
        kind=", ".join(sorted({str(node["Node Type"]) for node in nodes})),
        index=", ".join(sorted({str(node.get("Index Name", "none")) for node in nodes})),
        rows=sum(rows),
        fetched=sum(round(node.get("Heap Fetches", count)) for node, count in zip(nodes, rows, strict=True)),
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", []):
        yield from _nodes(below)


async def run_statement(connection: psycopg.AsyncConnection[Any], statement: Statement) -> None:
    """Execute a statement, and fetch its rows."""
    cursor = await connection.execute(statement[0].encode(), statement[1])
    if cursor.description:
        await cursor.fetchall()


@asynccontextmanager
async def connections(address: str) -> AsyncIterator[asyncio.Queue[psycopg.AsyncConnection[Any]]]:
    """Open as many connections as the service has."""
    opened = [await psycopg.AsyncConnection.connect(address, autocommit=True) for _ in range(POOL_SIZE)]
    free = asyncio.Queue[psycopg.AsyncConnection[Any]]()
    for connection in opened:
        free.put_nowait(connection)
    try:
        yield free
    finally:
        for connection in opened:
            await connection.close()


async def replay_for(
    seconds: float,
    free: asyncio.Queue[psycopg.AsyncConnection[Any]],
    searches: Iterator[list[Statement]],
    times: Times,
    clients: int,
) -> None:
    """Run the statements of one search after another, with several concurrent clients."""
    seen: list[float] = []
    started = perf_counter()

    async def keep_searching() -> None:
        while (asked := perf_counter()) - started < seconds:
            connection = await free.get()
            for statement in next(searches):
                await run_statement(connection, statement)
            free.put_nowait(connection)
            seen.append((perf_counter() - asked) * 1000)
            await asyncio.sleep(0)  # otherwise this client would take the connection again before waiting ones

    await asyncio.gather(*(keep_searching() for _ in range(clients)))
    times.rounds.append(seen)
