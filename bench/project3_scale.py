"""Stage 3 on a large index: searches beside their bare statements, recall, and the cost of each search strategy."""

import asyncio
import json
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import mean, median
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
from bench.client import Connection, post
from bench.corpus import Query
from bench.databases import migrated_database
from bench.rates import CONNECTIONS, Rate, Times, ask_for
from bench.servers import Server, running
from project3_rag_docs.search.bm25 import BM25Query
from project3_rag_docs.search.index import claim_index, term_key
from project3_rag_docs.search.lexical import Language, analyse
from project3_rag_docs.search.rankings import run_queries
from project3_rag_docs.search.service import Searcher
from project3_rag_docs.search.statistics import Corpus, Scope, load_statistics
from project3_rag_docs.search.vectors import VectorQuery, vector_literal
from project3_rag_docs.settings import Settings
from shared.database.engine import create_engine, create_session_factory, read_session, transaction
from shared.owner import LOCAL_OWNER_ID

PACKAGE = "project3_rag_docs"
POOL_SIZE = int(Settings.model_fields["db_pool_size"].default)
GRAPH = "ix_chunks_embedding_en"
EVERYTHING = Scope(LOCAL_OWNER_ID)
K = 10
LIMIT = 50  # length of a ranking when ten hits are requested
CLIENTS = (1, CONNECTIONS)
SHARES = (0.001, 0.003, 0.01, 0.03, 0.05, 0.08, 0.15, 0.3, 0.6)  # of documents that a filter keeps


@dataclass(frozen=True)
class ScalePlan:
    """The extent of the benchmark.

    Attributes:
        questions: Number of different questions.
        rounds: Rounds in which the service and the bare statements run for `seconds`, with each number of clients.
        samples: Questions for which recall is measured and search strategies are timed.
        searches: Number of searches between the first and the last measurement of memory.
    """

    documents: int
    chunks_per_document: int
    questions: int
    rounds: int
    seconds: float
    samples: int
    searches: int


@dataclass(frozen=True)
class Side:
    """The same searches with one number of clients, through the service and as bare statements."""

    service: Rate = field(default_factory=Rate)
    bare: Times = field(default_factory=Times)


@dataclass(frozen=True)
class Filtered:
    """Vector searches in some documents, in the language of the question.

    Attributes:
        share: The share of the documents.
        chunks: The number of their chunks in this language.
        compared_ms: Median time of the exact scan.
        walked_ms: Median time of the index search, including an exact scan after it if it ended too early.
        walked_by: The index that PostgreSQL chose for the statement of the index search.
        ended_early: The share of index searches that ended too early.
        compares: Whether the service chooses the exact scan.
        walk_recall: recall@10 of the index search.
        recall: recall@10 of the service's choice.
    """

    share: float
    chunks: int
    compared_ms: float
    walked_ms: float
    walked_by: str
    ended_early: float
    compares: bool
    walk_recall: float
    recall: float


@dataclass(frozen=True)
class Found:
    """The number of searches in some documents, over HTTP, that return as many hits as possible."""

    share: float
    asked: int
    complete: int


@dataclass(frozen=True)
class Words:
    """A BM25 search.

    Attributes:
        what: A description of the words.
        terms: Number of words.
        postings: Number of their postings.
        ms: Median time.
        read: How PostgreSQL reads the postings.
        fetched: Rows that it had to fetch from the table; zero for an index-only scan.
    """

    what: str
    terms: int
    postings: int
    ms: float
    read: str
    fetched: int


@dataclass(frozen=True)
class Parts:
    """The median milliseconds of each statement of a search, measured in psycopg."""

    ms: Mapping[str, float]


@dataclass(frozen=True)
class Scale:
    """All results.

    Attributes:
        load_seconds: Time to write the collection.
        searches: By the number of clients.
        parts: The statements of one search by a single client.
        recall: recall@10 of vector searches in all documents, by the language of the chunks.
        meaning_ms: The time of these searches.
        filters: By the share of the documents.
        found: Filtered searches over HTTP.
        words: BM25 searches, from rare to common words.
        memory_mb: The service's memory, by the number of searches so far.
    """

    load_seconds: float
    searches: Mapping[int, Side]
    parts: Parts
    recall: Mapping[str, float]
    meaning_ms: Mapping[str, float]
    filters: Sequence[Filtered]
    found: Sequence[Found]
    words: Sequence[Words]
    memory_mb: Mapping[int, float]


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

        def before(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:  # noqa: ANN401
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
async def filled(plan: ScalePlan, server: str) -> AsyncIterator[tuple[str, Index, float]]:
    """Fill a database with a collection; yield its URL, an index for this process, and the seconds that it took."""
    with migrated_database(server, "bench_scale", PACKAGE) as address:
        made = corpus.Corpus(plan.documents, plan.chunks_per_document)
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
            yield address, Index(engine, made, ids, made.queries(plan.questions)), took
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


async def measure_scale(plan: ScalePlan, server: str) -> Scale:
    """Fill a database and measure."""
    async with filled(plan, server) as (address, index, load_seconds):
        rare = index.corpus.queries(plan.questions, of_rare_words=True)
        with (
            tempfile.TemporaryDirectory() as folder,
            running("bench.project3_model", str(_write_vectors(folder, index.questions, rare))) as model,
            running("bench.collectable", PACKAGE, environment=environment(address, model.port)) as service,
        ):
            searches = await beside_statements(plan, index, service, address)
            found = [await _complete(index, service, share, plan.samples) for share in (0.01, 0.001)]
            memory = await memory_after_searches(plan, rare, service)
        recall, meaning_ms = await by_meaning(plan, index)
        filters = [await by_filter(index, address, share, plan.samples // 4) for share in SHARES]
        return Scale(
            load_seconds=load_seconds,
            searches=searches,
            parts=await parts_of(index, address, plan.samples // 2),
            recall=recall,
            meaning_ms=meaning_ms,
            filters=filters,
            found=found,
            words=await by_words(index, address),
            memory_mb=memory,
        )


def _write_vectors(folder: str, *questions: Sequence[Query]) -> Path:
    known = Path(folder, "vectors.json")
    known.write_text(json.dumps({one.text: one.base64() for some in questions for one in some}), encoding="utf-8")
    return known


def _request(question: Query, document_ids: Iterable[UUID] = ()) -> bytes:
    body: dict[str, Any] = {"query": question.text, "k": K}
    if ids := [str(one) for one in document_ids]:
        body["document_ids"] = ids
    return post("/documents/search", body)


async def beside_statements(plan: ScalePlan, index: Index, service: Server, address: str) -> dict[int, Side]:
    """Measure the service and its bare statements in turn; the first round is a warm-up and does not count."""
    scripts = [await index.statements(question) for question in index.questions]
    requests = cycle([_request(question) for question in index.questions])
    sides = {clients: Side() for clients in CLIENTS}
    async with _connections(address) as free:
        searches = cycle(scripts)
        for number in range(plan.rounds + 1):
            for clients, side in sides.items():
                counted = side if number else Side()
                await ask_for(plan.seconds, service, requests, counted.service, connections=clients)
                await _replay_for(plan.seconds, free, searches, counted.bare, clients)
    return sides


@asynccontextmanager
async def _connections(address: str) -> AsyncIterator[asyncio.Queue[psycopg.AsyncConnection[Any]]]:
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


async def _replay_for(
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
            for statement, parameters in next(searches):
                cursor = await connection.execute(statement.encode(), parameters)
                if cursor.description:
                    await cursor.fetchall()
            free.put_nowait(connection)
            seen.append((perf_counter() - asked) * 1000)
            await asyncio.sleep(0)  # otherwise this client would take the connection again before waiting ones

    await asyncio.gather(*(keep_searching() for _ in range(clients)))
    times.rounds.append(seen)


_KINDS = {
    "FROM search_index": "statistics",
    "postings": "rankings",
    "AS wanted (document": "texts of the hits",
}


async def parts_of(index: Index, address: str, samples: int) -> Parts:
    """Time each statement of some searches, and add up those of one kind within a search."""
    times: dict[str, list[float]] = {}
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
        for question in index.questions[:samples]:
            spent: dict[str, float] = {}
            for statement, parameters in await index.statements(question):
                kind = next((kind for sign, kind in _KINDS.items() if sign in statement), "the rest")
                started = perf_counter()
                cursor = await connection.execute(statement.encode(), parameters)
                if cursor.description:
                    await cursor.fetchall()
                spent[kind] = spent.get(kind, 0) + (perf_counter() - started) * 1000
            for kind, ms in spent.items():
                times.setdefault(kind, []).append(ms)
    return Parts({kind: median(seen) for kind, seen in times.items()})


async def _ranked(
    index: Index, scope: Scope, question: Query, language: Language, exactly: bool | None = None
) -> tuple[set[tuple[int, int]], float, list[Statement], Corpus]:
    """Run a vector query; return the first ten chunks, the milliseconds, the statements, and the corpus.

    `exactly` selects an exact scan or an index search; None leaves the choice to the service.
    """
    async with read_session(index.sessions) as session:
        sizes = (await load_statistics(session, scope, [], LIMIT)).corpora[language]
        by_meaning = VectorQuery(sizes, exact=sizes.prefers_exact_scan(LIMIT) if exactly is None else exactly)
        vector = vector_literal(question.vector.tolist())
        with index.recorded() as statements:
            started = perf_counter()
            [found] = await run_queries(session, scope, [by_meaning], vector, LIMIT)
            ms = (perf_counter() - started) * 1000
        # Document numbers start at 1.
        return {(one.document - 1, one.chunk) for one in found[:K]}, ms, statements, sizes


async def by_meaning(plan: ScalePlan, index: Index) -> tuple[dict[str, float], dict[str, float]]:
    """Return recall@10 and milliseconds of vector searches in all documents, by the language of the chunks."""
    recall: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    for question in index.questions[: plan.samples]:
        for language in Language:
            name = f"{'English' if language == Language.EN else 'Chinese'} chunks, " + (
                "question in the same language" if language == question.language else "question in the other language"
            )
            found, ms, *_ = await _ranked(index, EVERYTHING, question, language)
            right = index.nearest(question, language, None)
            recall.setdefault(name, []).append(len(found & right) / len(right))
            times.setdefault(name, []).append(ms)
    return {name: mean(seen) for name, seen in recall.items()}, {name: median(seen) for name, seen in times.items()}


def _kept(index: Index, share: float, number: int) -> NDArray[np.int64]:
    """Choose the documents of a filter: a different choice for each number, English only if there are few."""
    rng = np.random.default_rng([10, number])
    count = max(1, round(share * index.corpus.documents))
    candidates = np.array([one for one in range(index.corpus.documents) if count > 5 or not corpus.is_chinese(one)])
    return np.sort(rng.choice(candidates, count, replace=False))


async def by_filter(index: Index, address: str, share: float, samples: int) -> Filtered:
    """Run vector searches in some documents, with both strategies, and compare with the service's choice."""
    compared: list[float] = []
    walked: list[float] = []
    early: list[bool] = []
    recall: list[float] = []
    walk_recall: list[float] = []
    questions = [question for question in index.questions if question.language == Language.EN]
    compares, size = False, 0
    walk: Statement = ("", None)
    for number, question in enumerate(islice(questions, samples)):
        documents = _kept(index, share, number)
        right = index.nearest(question, Language.EN, documents)
        scope = Scope(LOCAL_OWNER_ID, index.ids_of(documents))
        for exactly in (True, False):
            found, ms, statements, sizes = await _ranked(index, scope, question, Language.EN, exactly)
            compares, size = sizes.prefers_exact_scan(LIMIT), sizes.in_scope_count
            hit = len(found & right) / len(right)
            (compared if exactly else walked).append(ms)
            if not exactly:
                early.append(len(statements) > 1)
                walk = statements[0]
                walk_recall.append(hit)
            if exactly == compares:
                recall.append(hit)
    async with await psycopg.AsyncConnection.connect(address) as connection:
        await connection.execute("SET hnsw.iterative_scan = 'relaxed_order'")
        read = await _plan(connection, walk, "chunks")
    return Filtered(
        share=share,
        chunks=size,
        compared_ms=median(compared),
        walked_ms=median(walked),
        walked_by=read.index,
        ended_early=mean(early),
        compares=compares,
        walk_recall=mean(walk_recall),
        recall=mean(recall),
    )


async def _complete(index: Index, service: Server, share: float, samples: int) -> Found:
    connection = await Connection.open(service.port)
    complete = 0
    for number, question in enumerate(index.questions[:samples]):
        documents = _kept(index, share, number)
        answer = json.loads(await connection.exchange(_request(question, index.ids_of(documents))))
        there = len(documents) * index.corpus.chunks_per_document
        complete += len({hit["chunk_id"] for hit in answer["hits"]}) == min(K, there)
    connection.close()
    return Found(share, min(samples, len(index.questions)), complete)


async def by_words(index: Index, address: str) -> list[Words]:
    """Run BM25 searches for rare and for common words, and find out how PostgreSQL reads the postings."""
    vocabulary = corpus.words()
    closed = corpus.CLOSED
    groups: dict[str, Callable[[int], Sequence[str]]] = {
        "one rare word": lambda n: vocabulary[-1 - n :][:1],
        "one word of middling frequency": lambda n: vocabulary[1000 + n :][:1],
        "one of the commonest words": lambda n: vocabulary[closed + n :][:1],
        "five words of middling frequency": lambda n: vocabulary[1000 + n :: 400][:5],
        "the five commonest words": lambda n: vocabulary[closed + n :][:5],
        "the thirty commonest words": lambda n: vocabulary[closed + n :][:30],
    }
    found = []
    for what, choose in groups.items():
        times, statements = [], []
        async with read_session(index.sessions) as session:
            for number in range(5):
                terms = [term_key(LOCAL_OWNER_ID, "en", term) for term in analyse(" ".join(choose(number))).terms]
                facts = await load_statistics(session, EVERYTHING, terms, LIMIT)
                by_words = BM25Query.for_terms(facts.corpora[Language.EN], facts.frequencies, LIMIT)
                with index.recorded() as sent:
                    started = perf_counter()
                    await run_queries(session, EVERYTHING, [by_words], "[]", LIMIT)
                    times.append((perf_counter() - started) * 1000)
                statements += sent
        async with await psycopg.AsyncConnection.connect(address) as connection:
            plans = [await _plan(connection, statement, "postings") for statement in statements]
        postings = round(mean(plan.rows for plan in plans))
        fetched = max(plan.fetched for plan in plans)
        read = ", ".join(sorted({plan.kind for plan in plans}))
        found.append(Words(what, len(choose(0)), postings, median(times), read, fetched))
    return found


@dataclass(frozen=True)
class _Read:
    kind: str
    index: str
    rows: int
    fetched: int


async def _plan(connection: psycopg.AsyncConnection[Any], statement: Statement, relation: str) -> _Read:
    """Return how PostgreSQL reads a table in a statement, by EXPLAIN."""
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement[0]}"
    cursor = await connection.execute(explain.encode(), statement[1])
    row = await cursor.fetchone()
    nodes = [node for node in _nodes(row[0][0]["Plan"]) if node.get("Relation Name") == relation] if row else []
    rows = [round(node["Actual Rows"] * node["Actual Loops"]) for node in nodes]
    return _Read(
        kind=", ".join(sorted({str(node["Node Type"]) for node in nodes})),
        index=", ".join(sorted({str(node.get("Index Name", "none")) for node in nodes})),
        rows=sum(rows),
        fetched=sum(round(node.get("Heap Fetches", count)) for node, count in zip(nodes, rows, strict=True)),
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", []):
        yield from _nodes(below)


async def memory_after_searches(plan: ScalePlan, rare: Sequence[Query], service: Server) -> dict[int, float]:
    """Search for rare words, the fastest searches, and return the service's memory (MB) by the number of searches."""
    requests = cycle([_request(question) for question in rare])
    memory = {0: await _settled_memory(service)}
    for searches in (plan.searches // 2, plan.searches):
        await _search_often(service, requests, searches - max(memory))
        memory[searches] = await _settled_memory(service)
    return memory


async def _search_often(service: Server, requests: Iterator[bytes], count: int) -> None:
    async def client(share: int) -> None:
        connection = await Connection.open(service.port)
        for _ in range(share):
            await connection.exchange(next(requests))
        connection.close()

    await asyncio.gather(*(client(count // CONNECTIONS) for _ in range(CONNECTIONS)))


async def _settled_memory(service: Server) -> float:
    await asyncio.sleep(0.5)  # background tasks and closed connections end
    service.process.send_signal(signal.SIGUSR1)  # collect garbage, see `bench.collectable`
    await asyncio.sleep(0.5)
    return service.memory_mb()
