"""The retrieval quality of stage 3: `python -m bench.retrieval FILE…` prints nDCG@10 and Recall@10.

A file is a JSON object: `passages`, `queries`, and for each query in `rel` the indices of the relevant passages. Each
passage is uploaded to the service as a document; then each query runs through the service's own search. Two files with
the same number of passages are treated as translations of each other, and are searched across languages, too.
"""

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parent.parent))  # for `python bench/retrieval.py`

import httpx2
from langchain_core.embeddings import Embeddings
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from bench.databases import embedded, migrated_database, postgresql
from bench.servers import running
from local.services import model_server
from project3_rag_docs.search.baselines import Baselines
from project3_rag_docs.search.bm25 import BM25Query
from project3_rag_docs.search.embedding import create_embedding_model
from project3_rag_docs.search.hits import load_hits
from project3_rag_docs.search.index import term_key
from project3_rag_docs.search.lexical import Language, analyse
from project3_rag_docs.search.rankings import RankedChunk, run_queries
from project3_rag_docs.search.service import search
from project3_rag_docs.search.statistics import Scope, load_statistics
from project3_rag_docs.search.vectors import VectorQuery, vector_literal
from project3_rag_docs.settings import Settings
from shared.database.engine import create_engine, read_session
from shared.models.client import create_http_client
from shared.owner import LOCAL_OWNER_ID

_AT = 10
_HITS = 50  # chunks that are retrieved for ten documents
_PACKAGE = "project3_rag_docs"
_ENVIRONMENT = {"LOG_LEVEL": "WARNING", "USER_DOCUMENTS_WAITING_MAX": "10000"}  # the whole collection at once
_EVERYTHING = Scope(LOCAL_OWNER_ID)
# The project's aims for nDCG@10 and Recall@10, by run.
AIMS: Mapping[tuple[str, str], tuple[float | None, float | None]] = {
    ("xquad_en", "xquad_en"): (0.975, None),
    ("xquad_zh", "xquad_zh"): (0.965, None),
    ("xquad_zh", "xquad_en"): (None, 0.90),
    ("xquad_en", "xquad_zh"): (None, 0.90),
    ("xquad_en", "both"): (0.90, None),
    ("xquad_zh", "both"): (0.87, None),
}


@dataclass(frozen=True)
class Collection:
    """Passages, queries, and which passages are relevant to each query, by index."""

    name: str
    passages: Sequence[str]
    queries: Sequence[str]
    relevant: Sequence[Sequence[int]]

    @classmethod
    def read(cls, path: Path) -> "Collection":
        """Read a collection from a file."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(path.stem, data["passages"], data["queries"], data["rel"])


@dataclass(frozen=True)
class Score:
    """nDCG@10 and Recall@10, averaged over queries."""

    ndcg: float
    recall: float

    def __str__(self) -> str:
        """Format both values."""
        return f"{self.ndcg:.3f} / {self.recall:.3f}"


# A document is identified by its collection and the index of its passage.
Passage = tuple[str, int]


def score(rankings: Sequence[Sequence[Passage]], relevant: Sequence[set[Passage]]) -> Score:
    """Return the means of nDCG@10 (Järvelin and Kekäläinen, 2002, with gains of 1 and 0) and of Recall@10."""
    ndcg = recall = 0.0
    for ranking, wanted in zip(rankings, relevant, strict=True):
        gains = [passage in wanted for passage in ranking[:_AT]]
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(_AT, len(wanted))))
        ndcg += sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains)) / ideal
        recall += sum(gains) / len(wanted)
    return Score(ndcg / len(rankings), recall / len(rankings))


async def _ingest(port: int, collections: Sequence[Collection]) -> dict[UUID, Passage]:
    """Upload all passages, and wait until they are ready."""
    known: dict[UUID, Passage] = {}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client:
        for collection in collections:
            for number, passage in enumerate(collection.passages):
                file = (f"{collection.name}-{number}.txt", passage.encode())
                answer = await client.post("/documents", files={"file": file})
                known.setdefault(UUID(answer.raise_for_status().json()["id"]), (collection.name, number))
        for document_id, passage_of in known.items():
            events = await client.get(f"/documents/{document_id}/events")
            if "event: ready" not in events.text:
                raise RuntimeError(f"{passage_of} was not ingested: {events.text[-500:]}")
    return known


async def _by_words(session: AsyncSession, query: str, embedding: Sequence[float]) -> list[RankedChunk]:
    del embedding
    found: list[RankedChunk] = []
    for language in Language:
        terms = [term_key(LOCAL_OWNER_ID, language, term) for term in analyse(query).terms]
        facts = await load_statistics(session, _EVERYTHING, terms, _HITS)
        if corpus := facts.corpora.get(language):
            words = BM25Query.for_terms(corpus, facts.frequencies, _HITS)
            found += (await run_queries(session, _EVERYTHING, [words], _HITS))[0]
    return sorted(found, key=lambda hit: -hit.score)


async def _by_meaning(session: AsyncSession, _: str, embedding: Sequence[float]) -> list[RankedChunk]:
    corpora = (await load_statistics(session, _EVERYTHING, [], _HITS)).corpora.values()
    vector = vector_literal(embedding)
    rankings = [VectorQuery(corpus, corpus.prefers_exact_scan(_HITS), vector) for corpus in corpora]
    found = await run_queries(session, _EVERYTHING, rankings, _HITS)
    return sorted((hit for hits in found for hit in hits), key=lambda hit: -hit.score)


class Index:
    """Collections in one database, searched with the service's own code."""

    def __init__(self, settings: Settings, embeddings: Embeddings, known: Mapping[UUID, Passage]) -> None:
        self._settings = settings
        self._embeddings = embeddings
        self._known = known
        self._vectors: dict[str, list[float]] = {}

    async def run(self, queries: Sequence[str], relevant: Sequence[set[Passage]]) -> dict[str, Score]:
        """Run all queries with each kind of search."""
        engine = create_engine(self._settings)
        sessions = async_sessionmaker(engine)
        index_model = (self._settings.embedding_model, self._settings.embedding_dimensions)
        baselines = await Baselines(self._embeddings, self._settings.query_prefix()).get()
        rankings: dict[str, list[list[Passage]]] = {"search": [], "BM25 alone": [], "vectors alone": []}
        try:
            for query in queries:
                embedding = await self._embeddings.aembed_query(self._settings.query_prefix() + query)
                async with read_session(sessions) as session:
                    hits = await search(
                        session,
                        _EVERYTHING,
                        query,
                        embedding,
                        k=_HITS,
                        baselines=baselines,
                        index_model=index_model,
                    )
                    rankings["search"].append(self._passages(hit.document_id for hit in hits))
                    for name, ranker in (("BM25 alone", _by_words), ("vectors alone", _by_meaning)):
                        found = await ranker(session, query, embedding)
                        ranked = {chunk.key: chunk.score for chunk in found}
                        ids = await load_hits(session, ranked, len(found), vector_literal(embedding))
                        rankings[name].append(self._passages(hit.document_id for hit in ids))
        finally:
            await engine.dispose()
        return {name: score(ranked, relevant) for name, ranked in rankings.items()}

    def _passages(self, documents: Iterable[UUID]) -> list[Passage]:
        """Return the passages of some documents; a document found by several chunks counts once, at the first."""
        return list(dict.fromkeys(self._known[document] for document in documents))


@dataclass(frozen=True)
class Run:
    """The queries of one collection, on one index."""

    queries: Collection
    index: str
    collections: Sequence[Collection]

    def relevant(self, number: int) -> set[Passage]:
        """Return the passages that are relevant to a query, in all languages of the index."""
        return {(one.name, passage) for one in self.collections for passage in self.queries.relevant[number]}


def runs_of(collections: Sequence[Collection]) -> list[list[Run]]:
    """Return the runs, grouped by index."""
    parallel = len(collections) == 2 and len(collections[0].passages) == len(collections[1].passages)
    if not parallel:
        return [[Run(one, one.name, [one])] for one in collections]
    singles = [[Run(other, one.name, [one]) for other in collections] for one in collections]
    return [*singles, [Run(one, "both", collections) for one in collections]]


async def measure(collections: Sequence[Collection], most_queries: int | None) -> None:
    """Print a table with a line per run."""
    print("| queries | index | search | BM25 alone | vectors alone | aim | |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    started = perf_counter()
    async with postgresql() as server, embedded(model_server) as model:
        for group in runs_of(collections):
            with migrated_database(server, "bench_retrieval", _PACKAGE) as address:
                environment = model | _ENVIRONMENT | {"DATABASE_URL": address}
                settings = Settings(**{name.lower(): value for name, value in environment.items() if value})  # type: ignore[arg-type]  # Pydantic parses the strings
                with running(_PACKAGE, environment=environment) as service:
                    known = await _ingest(service.port, group[0].collections)
                async with create_http_client(settings) as http:
                    index = Index(settings, create_embedding_model(settings, http), known)
                    for run in group:
                        await _print_run(index, run, most_queries)
    print(f"\nnDCG@{_AT} / Recall@{_AT}; {perf_counter() - started:.0f} s")


async def _print_run(index: Index, run: Run, most_queries: int | None) -> None:
    total = len(run.queries.queries)
    numbers = range(0, total, math.ceil(total / most_queries) if most_queries else 1)
    found = await index.run([run.queries.queries[i] for i in numbers], [run.relevant(i) for i in numbers])
    aim, verdict = "", ""
    if wanted := AIMS.get((run.queries.name, run.index)):
        ndcg, recall = wanted
        aim = f"nDCG ≥ {ndcg}" if ndcg else f"Recall ≥ {recall}"
        verdict = "met" if found["search"].ndcg >= (ndcg or 0) and found["search"].recall >= (recall or 0) else "missed"
    columns = [f"{run.queries.name} ({len(numbers)})", run.index, *map(str, found.values()), aim, verdict]
    print(f"| {' | '.join(columns)} |", flush=True)


def main() -> None:
    """Read the files, and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.retrieval", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--queries", type=int, metavar="N", help="at most about N of each file, evenly spaced")
    arguments = parser.parse_args()
    asyncio.run(measure([Collection.read(path) for path in arguments.files], arguments.queries))


if __name__ == "__main__":
    main()
