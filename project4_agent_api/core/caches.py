"""Caches of model results: embeddings, searches, and answers from documents.

The key of a search or an answer contains the version of its owner's documents, which PostgreSQL changes in the
transaction that makes a document searchable or removes it. The version is read before the search, so a result from
before a change is never returned after it.
"""

from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any
from uuid import UUID

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, TypeAdapter

from project1_qa_api.answering import milliseconds_since
from project1_qa_api.schemas import Token
from project3_rag_docs.answers.answering import AnswerEvent, DocumentAnswerer
from project3_rag_docs.answers.chain import SYSTEM_PROMPT
from project3_rag_docs.schemas import AnswerDone, DocumentQuestion, Sources
from project3_rag_docs.search.filters import DocumentFilter
from project3_rag_docs.search.hits import Hit
from project3_rag_docs.search.service import Searcher
from project4_agent_api.core.postgres import Pool, fetch_one
from project4_agent_api.core.redis_cache import CacheCounters, RedisCache
from project4_agent_api.settings import Settings
from shared.redis.circuit_breaker import CircuitBreaker
from shared.redis.client import RedisClient


class CachedEmbeddings(Embeddings):
    """An embedding model with a cache.

    Args:
        name: Name and dimensions of the model, and the extra fields of its requests.
    """

    def __init__(self, model: Embeddings, name: tuple[str, int, Mapping[str, Any]], cache: RedisCache) -> None:
        self._model = model
        self._name = name
        self._cache = cache

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts without the cache."""
        return self._model.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """Embed a text without the cache."""
        return self._model.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts."""
        return await self._embedded("passage", texts, self._model.aembed_documents)

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a text."""

        async def embed(texts: list[str]) -> list[list[float]]:
            return [await self._model.aembed_query(item) for item in texts]

        (vector,) = await self._embedded("query", [text], embed)
        return vector

    async def _embedded(
        self, kind: str, texts: list[str], embed: Callable[[list[str]], Awaitable[list[list[float]]]]
    ) -> list[list[float]]:
        keys = [self._cache.key(kind, self._name, text) for text in texts]
        vectors: dict[str, list[float] | None] = dict(zip(keys, await self._cache.get(keys, self._decode), strict=True))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if vectors[key] is None}
        if missing:
            computed = dict(zip(missing, await embed(list(missing.values())), strict=True))
            vectors |= computed
            await self._cache.put({key: array("f", vector).tobytes() for key, vector in computed.items()})
        return [vectors[key] or [] for key in keys]

    def _decode(self, value: bytes) -> list[float]:
        vector = array("f")
        vector.frombytes(value)
        if len(vector) != self._name[1]:
            raise ValueError("the vector has other dimensions")
        return vector.tolist()


@dataclass(frozen=True)
class DocumentVersions:
    """The versions of the owners' document sets."""

    pool: Pool

    async def get(self, owner_id: UUID) -> UUID | None:
        """Return the version of an owner's searchable documents, or None if there never was one.

        Raises:
            DatabaseUnavailable: if the database is unavailable.
        """
        row = await fetch_one(self.pool, "SELECT version FROM document_versions WHERE owner_id = %s", [owner_id])
        return row["version"] if row else None


_HITS = TypeAdapter(list[Hit])


@dataclass(frozen=True, kw_only=True)
class CachedSearcher(Searcher):
    """Stage 3's searcher, with a cache for each query and version of the documents."""

    versions: DocumentVersions
    cache: RedisCache

    async def search(
        self,
        owner_id: UUID,
        query: str,
        *,
        k: int,
        document_ids: Sequence[UUID] | None = None,
        where: DocumentFilter | None = None,
    ) -> list[Hit]:
        """Return the best chunks for a query, as `Searcher` does."""
        version = await self.versions.get(owner_id)
        if version is None:
            return await super().search(owner_id, query, k=k, document_ids=document_ids, where=where)
        model = (self.model, self.dimensions, self.query_prefix)
        key = self.cache.key(owner_id, version, model, query, k, _sorted(document_ids), repr(where))
        async with self.cache.single_flight(key):
            (hits,) = await self.cache.get([key], _HITS.validate_json)
            if hits is None:
                hits = await super().search(owner_id, query, k=k, document_ids=document_ids, where=where)
                await self.cache.put({key: _HITS.dump_json(hits)})
        return hits


def _sorted(ids: Sequence[UUID] | None) -> list[UUID] | None:
    return None if ids is None else sorted(set(ids))


class _Answer(BaseModel):
    """A complete answer."""

    sources: Sources
    text: str
    done: AnswerDone


@dataclass(frozen=True, kw_only=True)
class CachedAnswerer(DocumentAnswerer):
    """Stage 3's answerer, with a cache for each question and version of the documents.

    A cached answer has the `id`, model and usage of the first one, and the latency of the present request.

    Attributes:
        model_settings: Everything else that an answer depends on.
    """

    versions: DocumentVersions
    model_settings: tuple[Any, ...]
    cache: RedisCache

    async def stream(self, owner_id: UUID, request: DocumentQuestion) -> AsyncGenerator[AnswerEvent]:
        """Answer a question, as `DocumentAnswerer` does. A cached answer is a single token."""
        started = perf_counter()
        # Changes of collections that others share do not change the version of the caller's documents.
        by_collection = request.filter is not None and request.filter.collection_ids is not None
        version = None if by_collection else await self.versions.get(owner_id)
        if version is None:
            async for event in self._generate(owner_id, request, None):
                yield event
            return
        scope = (_sorted(request.document_ids), request.model_dump_json(include={"filter", "history"}))
        key = self.cache.key(owner_id, version, self.model_settings, request.question, request.k, *scope)
        async with self.cache.single_flight(key):
            (cached,) = await self.cache.get([key], _Answer.model_validate_json)
            if cached is None:
                async with aclosing(self._generate(owner_id, request, key)) as events:
                    async for event in events:
                        yield event
                return
        yield cached.sources
        if cached.text:
            yield Token(text=cached.text)
        yield cached.done.model_copy(update={"latency_ms": milliseconds_since(started)})

    async def _generate(
        self, owner_id: UUID, request: DocumentQuestion, key: str | None
    ) -> AsyncGenerator[AnswerEvent]:
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
    """Stage 3's parts with their caches, and the counters of each cache by its name."""

    embeddings: Embeddings
    document_answerer: DocumentAnswerer
    counters: Mapping[str, CacheCounters]


def create_caches(
    settings: Settings, client: RedisClient, pool: Pool, embeddings: Embeddings, answerer: DocumentAnswerer
) -> Caches:
    """Add caches to an embedding model, a searcher and an answerer; not if CACHE_ENABLED is false."""
    if not settings.cache_enabled:
        return Caches(embeddings, answerer, {})
    breaker = CircuitBreaker("caches of model results", fallback="every result is computed again")
    vectors = RedisCache(client, "embeddings", settings.cache_embeddings_seconds, breaker)
    searches = RedisCache(client, "searches", settings.cache_searches_seconds, breaker)
    answers = RedisCache(client, "answers", settings.cache_answers_seconds, breaker)
    model = (settings.embedding_model, settings.embedding_dimensions, settings.embedding_extra_body)
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
        model_settings=_model_settings(settings),
        cache=answers,
    )
    counters = {"embeddings": vectors.counters, "searches": searches.counters, "answers": answers.counters}
    return Caches(cached_embeddings, cached_answerer, counters)


def _model_settings(settings: Settings) -> tuple[Any, ...]:
    """Return all settings that an answer depends on."""
    return (
        SYSTEM_PROMPT,
        settings.openai_base_url,
        settings.llm_model,
        settings.llm_fallback_models,
        settings.llm_extra_body,
        settings.llm_model_options,
        settings.context_tokens,
        settings.embedding_model,
        settings.embedding_dimensions,
        settings.query_prefix(),
        settings.rerank_base_url,
        settings.rerank_model,
        settings.answer_min_score,
    )
