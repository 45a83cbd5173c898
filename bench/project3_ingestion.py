"""Stage 3 with the embedded embedding model: how fast documents are taken in, and how a search fares meanwhile."""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import httpx2
from langchain_core.documents import Document

from bench.client import Connection, post
from bench.corpus import prose
from bench.databases import migrated_database
from bench.rates import Times
from bench.servers import Server, running
from local.services import model_server
from local.state import StageState
from project3_rag_docs.ingestion.chunking import split_sections
from project3_rag_docs.settings import Settings

PACKAGE = "project3_rag_docs"
BATCH = int(Settings.model_fields["embedding_batch_size"].default)
PAUSE_SECONDS = 0.05
CHUNK_CHARACTERS = 1000  # about; a file of so many for each chunk is uploaded

_QUESTIONS = (
    "Why are the services given as addresses?",
    "What happens when the database says nothing?",
    "Which errors does the model raise?",
    "How is the embedded model server started?",
)


@dataclass(frozen=True)
class IngestionPlan:
    """How much is measured.

    Attributes:
        rounds: In each, a file is taken in, and the model alone is given its texts.
        chunks: Of such a file, about.
        quiet_seconds: How long searches are timed while nothing else happens.
        large_chunks: Of the file that is taken in while searches are timed, about.
    """

    rounds: int
    chunks: int
    quiet_seconds: float
    large_chunks: int


@dataclass
class Speed:
    """Chunks a second, by round, and all of the chunks and the seconds."""

    per_second: list[float] = field(default_factory=list)
    chunks: int = 0
    seconds: float = 0

    def add(self, chunks: int, seconds: float) -> None:
        """Count a round."""
        self.per_second.append(chunks / seconds)
        self.chunks += chunks
        self.seconds += seconds

    def ratio_to(self, other: "Speed") -> float:
        """The median of the ratios of the rounds."""
        return median(mine / theirs for mine, theirs in zip(self.per_second, other.per_second, strict=True))


@dataclass(frozen=True)
class Searches:
    """How long something took, in ms, while nothing else happened, and while a large file was being taken in."""

    quiet: Times = field(default_factory=Times)
    busy: Times = field(default_factory=Times)

    def times_as_long(self, percent: float) -> float:
        """How many times a percentile was that of the quiet time."""
        return self.busy.percentile(percent) / self.quiet.percentile(percent)


@dataclass(frozen=True)
class Ingestion:
    """All that is measured here.

    Attributes:
        service: From the upload to `ready`.
        model: The same texts given to the model server alone, in batches of the same size.
        searches: Through the service.
        questions: The same questions embedded by the model server alone, at the same time.
    """

    service: Speed = field(default_factory=Speed)
    model: Speed = field(default_factory=Speed)
    searches: Searches = field(default_factory=Searches)
    questions: Searches = field(default_factory=Searches)


@asynccontextmanager
async def embedded_model() -> AsyncIterator[dict[str, str]]:
    """Run the embedded model server; give the settings by which a service finds it."""
    with tempfile.TemporaryDirectory() as folder:
        state = StageState("bench")
        state.folder = Path(folder)
        child, found_by = model_server(state, os.environ)
        try:
            await child.start()
            yield found_by
        finally:
            await child.stop()


async def measure_ingestion(plan: IngestionPlan, server: str) -> Ingestion:
    """Take files in, and search meanwhile."""
    found = Ingestion()
    async with embedded_model() as model:
        with migrated_database(server, "bench_ingestion", PACKAGE) as address:
            environment = {"APP_ENV": "production", "DATABASE_URL": address, **model}
            with running(PACKAGE, environment=environment) as service:
                async with _client(f"http://127.0.0.1:{service.port}") as http, _client() as embeddings:
                    url = f"{model['OPENAI_BASE_URL']}/embeddings"
                    await _take_in(http, prose(0, 2 * BATCH * CHUNK_CHARACTERS))  # both load what they need
                    for number in range(plan.rounds):
                        await _compare(http, embeddings, url, prose(number + 1, plan.chunks * CHUNK_CHARACTERS), found)
                    await _search_meanwhile(plan, service, http, url, found)
    return found


def _client(base_url: str = "") -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=base_url, timeout=600, trust_env=False)


async def _compare(
    http: httpx2.AsyncClient, embeddings: httpx2.AsyncClient, url: str, text: str, found: Ingestion
) -> None:
    """Take a text in, and embed its chunks without the service; who is first changes from round to round."""
    texts = [f"passage: {chunk.text}" for chunk in split_sections([Document(page_content=text)])]

    async def through_service() -> None:
        started = perf_counter()
        stored = await _take_in(http, text)
        if stored != len(texts):
            raise RuntimeError(f"the service made {stored} chunks of a text, and {len(texts)} were expected")
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


async def _take_in(http: httpx2.AsyncClient, text: str) -> int:
    """Upload a text and wait until it is ready; return how many chunks it has."""
    answer = await http.post("/documents", files={"file": (f"{len(text)}.txt", text.encode())})
    document: dict[str, Any] = answer.raise_for_status().json()
    events = await http.get(f"/documents/{document['id']}/events")
    last = json.loads(events.text.strip().rpartition("data: ")[2])
    if last.get("status") != "ready":
        raise RuntimeError(f"a document was not read: {last}")
    return int(last["chunk_count"])


async def _search_meanwhile(
    plan: IngestionPlan, service: Server, http: httpx2.AsyncClient, url: str, found: Ingestion
) -> None:
    port = httpx2.URL(url).port or 80
    for known, requests in ((service.port, _SEARCHES), (port, _EMBEDDINGS)):
        await _ask_each(known, requests)  # the model for questions is loaded when the first comes
    quiet = asyncio.create_task(asyncio.sleep(plan.quiet_seconds))
    await asyncio.gather(
        _keep_asking(service.port, _SEARCHES, found.searches.quiet, quiet),
        _keep_asking(port, _EMBEDDINGS, found.questions.quiet, quiet),
    )
    large = asyncio.create_task(_take_in(http, prose(99, plan.large_chunks * CHUNK_CHARACTERS)))
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
    """Ask one question after another, with a pause between, and note how long each took."""
    seen: list[float] = []
    connection = await Connection.open(port)
    while not until.done():
        asked = perf_counter()
        await connection.exchange(requests[len(seen) % len(requests)])
        seen.append((perf_counter() - asked) * 1000)
        await asyncio.sleep(PAUSE_SECONDS)
    connection.close()
    times.rounds.append(seen)
