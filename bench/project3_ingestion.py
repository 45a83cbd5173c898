"""Stage 3 with the embedded embedding model: ingestion speed, and search latency during ingestion."""

import asyncio
import json
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

import httpx2
from langchain_core.documents import Document

from bench.client import Connection, post
from bench.corpus import prose
from bench.databases import embedded, migrated_database
from bench.rates import Times
from bench.servers import Server, running
from local.services import model_server
from project3_rag_docs.ingestion.chunking import split_sections
from project3_rag_docs.settings import Settings

PACKAGE = "project3_rag_docs"
BATCH = int(Settings.model_fields["embedding_batch_size"].default)
PAUSE_SECONDS = 0.05
CHUNK_CHARACTERS = 1000  # approximate; determines the size of the uploaded files

_QUESTIONS = (
    "Why are the services given as addresses?",
    "What happens when the database says nothing?",
    "Which errors does the model raise?",
    "How is the embedded model server started?",
)


@dataclass(frozen=True)
class IngestionPlan:
    """The extent of the benchmark.

    Attributes:
        rounds: Rounds in which a file is ingested, and its chunks are embedded by the model alone.
        chunks: Approximate number of chunks of such a file.
        quiet_seconds: Duration of the searches while the service is idle.
        large_chunks: Approximate number of chunks of the file that is ingested during the searches.
    """

    rounds: int
    chunks: int
    quiet_seconds: float
    large_chunks: int


@dataclass
class Speed:
    """Chunks per second by round, with the totals of chunks and seconds."""

    per_second: list[float] = field(default_factory=list)
    chunks: int = 0
    seconds: float = 0

    def add(self, chunks: int, seconds: float) -> None:
        """Add a round."""
        self.per_second.append(chunks / seconds)
        self.chunks += chunks
        self.seconds += seconds

    def ratio_to(self, other: "Speed") -> float:
        """Return the median of the rounds' ratios."""
        return median(mine / theirs for mine, theirs in zip(self.per_second, other.per_second, strict=True))


@dataclass(frozen=True)
class Searches:
    """Times in ms while the service was idle, and while a large file was ingested."""

    quiet: Times = field(default_factory=Times)
    busy: Times = field(default_factory=Times)

    def times_as_long(self, percent: float) -> float:
        """Return the ratio of a percentile during ingestion to the same percentile while idle."""
        return self.busy.percentile(percent) / self.quiet.percentile(percent)


@dataclass(frozen=True)
class Ingestion:
    """All results.

    Attributes:
        service: Ingestion from the upload to `ready`.
        model: The same chunks, embedded by the model server alone in batches of the same size.
        questions: The same questions, embedded by the model server alone at the same time.
    """

    service: Speed = field(default_factory=Speed)
    model: Speed = field(default_factory=Speed)
    searches: Searches = field(default_factory=Searches)
    questions: Searches = field(default_factory=Searches)


async def measure_ingestion(plan: IngestionPlan, server: str) -> Ingestion:
    """Ingest files, and search during ingestion."""
    found = Ingestion()
    async with embedded(model_server) as model:
        with migrated_database(server, "bench_ingestion", PACKAGE) as address:
            environment = {"APP_ENV": "production", "DATABASE_URL": address, **model}
            with running(PACKAGE, environment=environment) as service:
                async with _client(f"http://127.0.0.1:{service.port}") as http, _client() as embeddings:
                    url = f"{model['OPENAI_BASE_URL']}/embeddings"
                    await _ingest_text(http, prose(0, 2 * BATCH * CHUNK_CHARACTERS))  # warm-up of both servers
                    for number in range(plan.rounds):
                        await _compare(http, embeddings, url, prose(number + 1, plan.chunks * CHUNK_CHARACTERS), found)
                    await _search_during_ingestion(plan, service, http, url, found)
    return found


def _client(base_url: str = "") -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=base_url, timeout=600, trust_env=False)


async def _compare(
    http: httpx2.AsyncClient, embeddings: httpx2.AsyncClient, url: str, text: str, found: Ingestion
) -> None:
    """Ingest a text, and embed its chunks without the service; the order alternates between rounds."""
    texts = [f"passage: {chunk.text}" for chunk in split_sections([Document(page_content=text)])]

    async def through_service() -> None:
        started = perf_counter()
        stored = await _ingest_text(http, text)
        if stored != len(texts):
            raise RuntimeError(f"the service stored {stored} chunks of a text; {len(texts)} expected")
        found.service.add(stored, perf_counter() - started)

    async def alone() -> None:
        started = perf_counter()
        for at in range(0, len(texts), BATCH):
            body = {"model": "multilingual-e5-small", "input": texts[at : at + BATCH], "encoding_format": "base64"}
            (await embeddings.post(url, json=body)).raise_for_status()
        found.model.add(len(texts), perf_counter() - started)

    ways = [through_service, alone]
    for way in ways if len(found.service.per_second) % 2 == 0 else reversed(ways):
        await way()


async def _ingest_text(http: httpx2.AsyncClient, text: str) -> int:
    """Upload a text, wait until it is ready, and return its number of chunks."""
    answer = await http.post("/documents", files={"file": (f"{len(text)}.txt", text.encode())})
    document: dict[str, Any] = answer.raise_for_status().json()
    events = await http.get(f"/documents/{document['id']}/events")
    last = json.loads(events.text.strip().rpartition("data: ")[2])
    if last.get("status") != "ready":
        raise RuntimeError(f"a document was not ingested: {last}")
    return int(last["chunk_count"])


async def _search_during_ingestion(
    plan: IngestionPlan, service: Server, http: httpx2.AsyncClient, url: str, found: Ingestion
) -> None:
    port = httpx2.URL(url).port or 80
    for known, requests in ((service.port, _SEARCHES), (port, _EMBEDDINGS)):
        await _ask_each(known, requests)  # warm-up: the model is loaded at the first request
    quiet = asyncio.create_task(asyncio.sleep(plan.quiet_seconds))
    await asyncio.gather(
        _keep_asking(service.port, _SEARCHES, found.searches.quiet, quiet),
        _keep_asking(port, _EMBEDDINGS, found.questions.quiet, quiet),
    )
    large = asyncio.create_task(_ingest_text(http, prose(99, plan.large_chunks * CHUNK_CHARACTERS)))
    await asyncio.gather(
        _keep_asking(service.port, _SEARCHES, found.searches.busy, large),
        _keep_asking(port, _EMBEDDINGS, found.questions.busy, large),
    )
    await large


_SEARCHES = [post("/documents/search", {"query": question, "k": 10}) for question in _QUESTIONS]
_EMBEDDINGS = [
    post("/v1/embeddings", {"model": "multilingual-e5-small", "input": [f"query: {question}"]})
    for question in _QUESTIONS
]


async def _ask_each(port: int, requests: list[bytes]) -> None:
    connection = await Connection.open(port)
    for request in requests:
        await connection.exchange(request)
    connection.close()


async def _keep_asking(port: int, requests: list[bytes], times: Times, until: asyncio.Task[Any]) -> None:
    """Send one request after another with a pause between them, and record the times."""
    seen: list[float] = []
    connection = await Connection.open(port)
    while not until.done():
        asked = perf_counter()
        await connection.exchange(requests[len(seen) % len(requests)])
        seen.append((perf_counter() - asked) * 1000)
        await asyncio.sleep(PAUSE_SECONDS)
    connection.close()
    times.rounds.append(seen)
