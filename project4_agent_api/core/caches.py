"""What is remembered in Redis so that no model is asked for it twice: embeddings, searches, answers from documents.

A search and an answer are remembered under the version of their owner's documents, which PostgreSQL changes in the
transaction that lets a document be found, or not any more. It is read before the search: so what was found before a
change is never given after it. Where Redis is away, or holds what cannot be read, all is as if nothing was remembered.
"""

import asyncio
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from time import perf_counter
from typing import Any, TypeVar
from uuid import UUID

import orjson
from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, TypeAdapter

from project1_qa_api.answering import milliseconds_since
from project1_qa_api.schemas import Token
from project3_rag_docs.answers.answering import AnswerEvent, DocumentAnswerer
from project3_rag_docs.answers.chain import SYSTEM_PROMPT
from project3_rag_docs.schemas import AnswerDone, DocumentQuestion, Sources
from project3_rag_docs.search.hits import Hit
from project3_rag_docs.search.service import Searcher
from project4_agent_api.core.postgres import Pool, connected
from project4_agent_api.settings import Settings
from shared.redis.circuit_breaker import CircuitBreaker
from shared.redis.client import REDIS_ERRORS, RedisClient

_PATIENCE_SECONDS = 30.0  # for somebody else who finds out the same; a client that reads slowly may hold up others
T = TypeVar("T")


@dataclass
class CacheCounters:
    """How often something was remembered, and how often not.

    Attributes:
        hits: So often it was.
        misses: So often it was not.
    """

    hits: int = 0
    misses: int = 0


class Cache:
    """Remembers one kind of thing for a while.

    Args:
        client: Of Redis.
        kind: A name for the kind.
        seconds: For how long.
        outage: Of that Redis.

    Attributes:
        counters: How often that helped.
    """

    def __init__(self, client: RedisClient, kind: str, seconds: int, outage: CircuitBreaker) -> None:
        self.counters = CacheCounters()
        self._redis = client
        self._kind = kind
        self._seconds = seconds
        self._outage = outage
        self._flights: dict[str, _Flight] = {}

    def key(self, *parts: object) -> str:
        """Return the name under which something is remembered that depends on these parts and nothing else."""
        digest = sha256(orjson.dumps(parts, default=str)).hexdigest()
        return self._redis.key(f"cache:{self._kind}:{digest}")

    async def get(self, keys: Sequence[str], read: Callable[[bytes], T]) -> list[T | None]:
        """Return what is remembered; None for what is not, or cannot be read."""
        values: Sequence[bytes | str | None] = [None] * len(keys)
        if self._outage.allow():
            try:
                values = await self._redis.mget(keys)
            except REDIS_ERRORS as error:
                self._outage.record_failure(error)
            else:
                self._outage.record_success()
        found = [_readable(value, read) for value in values]
        self.counters.hits += sum(one is not None for one in found)
        self.counters.misses += sum(one is None for one in found)
        return found

    async def put(self, values: dict[str, bytes]) -> None:
        """Remember something, if Redis is there."""
        if not values or not self._outage.allow():
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, value in values.items():
                    pipeline.set(key, value, ex=self._seconds)
                await pipeline.execute()
        except REDIS_ERRORS as error:
            self._outage.record_failure(error)

    @asynccontextmanager
    async def single_flight(self, key: str) -> AsyncIterator[None]:
        """Let one request of this process find something out while the others wait for what it remembers."""
        flight = self._flights.setdefault(key, _Flight())
        flight.waiters += 1
        held = False
        try:
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    held = await flight.lock.acquire()
            except TimeoutError:
                pass  # it finds out by itself
            yield
        finally:
            if held:
                flight.lock.release()
            flight.waiters -= 1
            if not flight.waiters:
                self._flights.pop(key, None)


class _Flight:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiters = 0


def _readable(value: bytes | str | None, read: Callable[[bytes], T]) -> T | None:
    if not isinstance(value, bytes):  # the client decodes nothing
        return None
    try:
        return read(value)
    except ValueError:  # which a ValidationError and a JSONDecodeError are too
        return None


class CachedEmbeddings(Embeddings):
    """An embedding model that is asked once for each text.

    Args:
        model: The model.
        name: Its name, and the number of its dimensions.
        cache: Remembers.
    """

    def __init__(self, model: Embeddings, name: tuple[str, int], cache: Cache) -> None:
        self._model = model
        self._name = name
        self._cache = cache

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts without asking Redis."""
        return self._model.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """Embed a text without asking Redis."""
        return self._model.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts."""
        return await self._embedded("passage", texts, self._model.aembed_documents)

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a text."""

        async def embed(texts: list[str]) -> list[list[float]]:
            return [await self._model.aembed_query(one) for one in texts]

        (vector,) = await self._embedded("query", [text], embed)
        return vector

    async def _embedded(
        self, what: str, texts: list[str], embed: Callable[[list[str]], Awaitable[list[list[float]]]]
    ) -> list[list[float]]:
        keys = [self._cache.key(what, self._name, text) for text in texts]
        known: dict[str, list[float] | None] = dict(zip(keys, await self._cache.get(keys, self._read), strict=True))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if known[key] is None}
        if missing:
            made = dict(zip(missing, await embed(list(missing.values())), strict=True))
            known |= made
            await self._cache.put({key: array("f", vector).tobytes() for key, vector in made.items()})
        return [known[key] or [] for key in keys]

    def _read(self, value: bytes) -> list[float]:
        vector = array("f")
        vector.frombytes(value)
        if len(vector) != self._name[1]:
            raise ValueError("the vector has other dimensions")
        return vector.tolist()


@dataclass(frozen=True)
class DocumentVersions:
    """Reads the versions of documents.

    Attributes:
        pool: Of the database's connections.
    """

    pool: Pool

    async def get(self, owner_id: UUID) -> UUID | None:
        """Return the version of all that can be found of an owner's documents; None if none ever could.

        Raises:
            DatabaseUnavailable: if the database is away.
        """
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                "SELECT version FROM document_versions WHERE owner_id = %s", [owner_id], prepare=True
            )
            row = await cursor.fetchone()
        return row["version"] if row else None


_HITS = TypeAdapter(list[Hit])


@dataclass(frozen=True, kw_only=True)
class CachedSearcher(Searcher):
    """Stage 3's searcher, which searches once for each question and version of the documents.

    Attributes:
        versions: Of the documents.
        cache: Remembers.
    """

    versions: DocumentVersions
    cache: Cache

    async def search(
        self, owner_id: UUID, query: str, *, k: int, document_ids: Sequence[UUID] | None = None
    ) -> list[Hit]:
        """Find the chunks that fit a query best, as `Searcher` does."""
        version = await self.versions.get(owner_id)
        if version is None:
            return await super().search(owner_id, query, k=k, document_ids=document_ids)
        made_with = (self.model, self.dimensions, self.query_prefix)
        key = self.cache.key(owner_id, version, made_with, query, k, _sorted(document_ids))
        async with self.cache.single_flight(key):
            (found,) = await self.cache.get([key], _HITS.validate_json)
            if found is None:
                found = await super().search(owner_id, query, k=k, document_ids=document_ids)
                await self.cache.put({key: _HITS.dump_json(found)})
        return found


def _sorted(ids: Sequence[UUID] | None) -> list[UUID] | None:
    return None if ids is None else sorted(set(ids))


class _Answer(BaseModel):
    """A whole answer."""

    sources: Sources
    text: str
    done: AnswerDone


@dataclass(frozen=True, kw_only=True)
class CachedAnswerer(DocumentAnswerer):
    """Stage 3's answerer, which asks the model once for each question and version of the documents.

    An answer that is given again has its own `id`, model and usage; how long it took is this request's.

    Attributes:
        versions: Of the documents.
        made_with: All besides the question and the documents that an answer depends on.
        cache: Remembers.
    """

    versions: DocumentVersions
    made_with: tuple[Any, ...]
    cache: Cache

    async def stream(self, owner_id: UUID, request: DocumentQuestion) -> AsyncGenerator[AnswerEvent]:
        """Answer a question, as `DocumentAnswerer` does; one that was answered before in one piece."""
        started = perf_counter()
        version = await self.versions.get(owner_id)
        if version is None:
            async for event in self._fresh(owner_id, request, None):
                yield event
            return
        ids = _sorted(request.document_ids)
        key = self.cache.key(owner_id, version, self.made_with, request.question, request.k, ids)
        async with self.cache.single_flight(key):
            (known,) = await self.cache.get([key], _Answer.model_validate_json)
            if known is None:
                async with aclosing(self._fresh(owner_id, request, key)) as events:
                    async for event in events:
                        yield event
                return
        yield known.sources
        if known.text:
            yield Token(text=known.text)
        yield known.done.model_copy(update={"latency_ms": milliseconds_since(started)})

    async def _fresh(self, owner_id: UUID, request: DocumentQuestion, key: str | None) -> AsyncGenerator[AnswerEvent]:
        sources, text = Sources(sources=[]), ""
        async with aclosing(super().stream(owner_id, request)) as events:
            async for event in events:
                match event:
                    case Sources():
                        sources = event
                    case Token():
                        text += event.text
                    case AnswerDone() if key is not None:
                        answer = _Answer(sources=sources, text=text, done=event)
                        await self.cache.put({key: answer.model_dump_json().encode()})
                yield event


@dataclass(frozen=True)
class Caches:
    """The cached forms of what stage 3 has opened, and the counters of each cache, by its name."""

    embeddings: Embeddings
    document_answerer: DocumentAnswerer
    counters: Mapping[str, CacheCounters]


def create_caches(
    settings: Settings, client: RedisClient, pool: Pool, embeddings: Embeddings, answerer: DocumentAnswerer
) -> Caches:
    """Put caches in front of an embedding model, a searcher and an answerer; with CACHE_ENABLED=false, leave them."""
    if not settings.cache_enabled:
        return Caches(embeddings, answerer, {})
    outage = CircuitBreaker("caches of model results", fallback="every result is computed again")
    vectors = Cache(client, "embeddings", settings.cache_embeddings_seconds, outage)
    searches = Cache(client, "searches", settings.cache_searches_seconds, outage)
    answers = Cache(client, "answers", settings.cache_answers_seconds, outage)
    model = (settings.embedding_model, settings.embedding_dimensions)
    cached_embeddings = CachedEmbeddings(embeddings, model, vectors)
    versions = DocumentVersions(pool)
    plain = answerer.steps.searcher
    searcher = CachedSearcher(
        sessions=plain.sessions,
        embeddings=cached_embeddings,
        model=plain.model,
        dimensions=plain.dimensions,
        query_prefix=plain.query_prefix,
        versions=versions,
        cache=searches,
    )
    cached_answerer = CachedAnswerer(
        steps=replace(answerer.steps, searcher=searcher),
        model_name=answerer.model_name,
        versions=versions,
        made_with=_made_with(settings),
        cache=answers,
    )
    counters = {"embeddings": vectors.counters, "searches": searches.counters, "answers": answers.counters}
    return Caches(cached_embeddings, cached_answerer, counters)


def _made_with(settings: Settings) -> tuple[Any, ...]:
    """Return all settings that an answer depends on."""
    return (
        SYSTEM_PROMPT,
        settings.openai_base_url,
        settings.llm_model,
        settings.llm_fallback_models,
        settings.context_tokens,
        settings.embedding_model,
        settings.embedding_dimensions,
        settings.query_prefix(),
        settings.rerank_base_url,
        settings.rerank_model,
    )
