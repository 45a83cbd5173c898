"""Stage 3 on a large index: searches beside their bare statements, recall, and the cost of each search strategy."""

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from numpy.typing import NDArray

from bench import corpus
from bench.client import Connection, post
from bench.corpus import Query
from bench.project3_index import (
    EVERYTHING,
    LIMIT,
    PACKAGE,
    Index,
    K,
    Statement,
    connections,
    environment,
    explain,
    filled,
    ranked,
    replay_for,
    run_statement,
)
from bench.rates import CONNECTIONS, Rate, Times, ask_for
from bench.servers import Server, running
from project3_rag_docs.search.bm25 import BM25Query
from project3_rag_docs.search.index import term_key
from project3_rag_docs.search.lexical import Language, analyse
from project3_rag_docs.search.rankings import run_queries
from project3_rag_docs.search.statistics import Scope, load_statistics
from shared.database.engine import read_session
from shared.owner import LOCAL_OWNER_ID

GRAPH = "ix_chunks_embedding_en"
CLIENTS = (1, CONNECTIONS)
SHARES = (0.001, 0.003, 0.01, 0.03, 0.05, 0.08, 0.15, 0.3, 0.6)  # of documents that a filter keeps


@dataclass(frozen=True)
class ScalePlan:
    """The extent of the benchmark.

    Attributes:
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
        postings: Number of their postings.
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
class Scale:
    """All results.

    Attributes:
        parts_ms: Median time of each statement of a search by a single client, measured in psycopg.
        recall: recall@10 of vector searches in all documents, by the language of the chunks.
        words: BM25 searches, from rare to common words.
        memory_mb: The service's memory, by the number of searches so far.
    """

    load_seconds: float
    searches: Mapping[int, Side]
    parts_ms: Mapping[str, float]
    recall: Mapping[str, float]
    meaning_ms: Mapping[str, float]
    filters: Sequence[Filtered]
    found: Sequence[Found]
    words: Sequence[Words]
    memory_mb: Mapping[int, float]


async def measure_scale(plan: ScalePlan, server: str) -> Scale:
    """Fill a database and measure."""
    async with filled(server, plan.documents, plan.chunks_per_document, plan.questions) as (
        address,
        index,
        load_seconds,
    ):
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
            parts_ms=await parts_of(index, address, plan.samples // 2),
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
    async with connections(address) as free:
        searches = cycle(scripts)
        for number in range(plan.rounds + 1):
            for clients, side in sides.items():
                counted = side if number else Side()
                await ask_for(plan.seconds, service, requests, counted.service, connections=clients)
                await replay_for(plan.seconds, free, searches, counted.bare, clients)
    return sides


_KINDS = {
    "FROM search_index": "statistics",
    "postings": "rankings",
    "AS wanted (document": "texts of the hits",
}


async def parts_of(index: Index, address: str, samples: int) -> dict[str, float]:
    """Time each statement of some searches, and add up those of one kind within a search."""
    times: dict[str, list[float]] = {}
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
        for question in index.questions[:samples]:
            spent: dict[str, float] = {}
            for statement in await index.statements(question):
                kind = next((kind for sign, kind in _KINDS.items() if sign in statement[0]), "the rest")
                started = perf_counter()
                await run_statement(connection, statement)
                spent[kind] = spent.get(kind, 0) + (perf_counter() - started) * 1000
            for kind, ms in spent.items():
                times.setdefault(kind, []).append(ms)
    return {kind: median(seen) for kind, seen in times.items()}


async def by_meaning(plan: ScalePlan, index: Index) -> tuple[dict[str, float], dict[str, float]]:
    """Return recall@10 and milliseconds of vector searches in all documents, by the language of the chunks."""
    recall: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    for question in index.questions[: plan.samples]:
        for language in Language:
            name = f"{'English' if language == Language.EN else 'Chinese'} chunks, " + (
                "question in the same language" if language == question.language else "question in the other language"
            )
            found, ms, *_ = await ranked(index, EVERYTHING, question, language)
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
            found, ms, statements, sizes = await ranked(index, scope, question, Language.EN, exactly)
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
        read = await explain(connection, walk, "chunks")
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
                    await run_queries(session, EVERYTHING, [by_words], LIMIT)
                    times.append((perf_counter() - started) * 1000)
                statements += sent
        async with await psycopg.AsyncConnection.connect(address) as connection:
            plans = [await explain(connection, statement, "postings") for statement in statements]
        postings = round(mean(plan.rows for plan in plans))
        fetched = max(plan.fetched for plan in plans)
        read = ", ".join(sorted({plan.kind for plan in plans}))
        found.append(Words(what, len(choose(0)), postings, median(times), read, fetched))
    return found


async def memory_after_searches(plan: ScalePlan, rare: Sequence[Query], service: Server) -> dict[int, float]:
    """Search for rare words, the fastest searches, and return the service's memory (MB) by the number of searches."""
    requests = cycle([_request(question) for question in rare])
    memory = {0: await service.settled_memory_mb()}
    for searches in (plan.searches // 2, plan.searches):
        await _search_often(service, requests, searches - max(memory))
        memory[searches] = await service.settled_memory_mb()
    return memory


async def _search_often(service: Server, requests: Iterator[bytes], count: int) -> None:
    async def client(share: int) -> None:
        connection = await Connection.open(service.port)
        for _ in range(share):
            await connection.exchange(next(requests))
        connection.close()

    await asyncio.gather(*(client(count // CONNECTIONS) for _ in range(CONNECTIONS)))
