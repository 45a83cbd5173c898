"""Rerank hits: the second of the chain's three steps.

A reranker is a model that reads the question and a passage together, so it judges relevance better than two separate
vectors can. The embedded model server has none; if `RERANK_BASE_URL` names an endpoint with one, it reorders the fused
ranking. Otherwise the fused ranking stays as it is.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import httpx2
from loguru import logger
from pydantic import BaseModel, TypeAdapter, ValidationError

from project3_rag_docs.search.hits import Hit

# Candidates per requested hit: a reranker can only move up a hit that it receives.
OVERFETCH = 4


class Reranker(Protocol):
    """Orders hits by relevance."""

    overfetch: int

    async def rerank(self, query: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        """Return the best `k`, the best first."""


class PassthroughReranker:
    """Keeps the order of rank fusion."""

    overfetch = 1

    async def rerank(self, query: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        """Return the first `k`."""
        del query
        return list(hits[:k])


class _Result(BaseModel):
    index: int
    relevance_score: float


class _Results(BaseModel):
    results: list[_Result]


_RESULTS = TypeAdapter(_Results)


@dataclass(frozen=True)
class EndpointReranker:
    """Calls an endpoint's `POST /rerank`, in the format of Jina and Cohere that llama.cpp, vLLM and TEI share.

    If the endpoint fails or is too slow, the fused order is kept and a warning is logged: the answer loses quality, but
    is not lost.

    Attributes:
        url: The base URL, without `/rerank`.
        model: Empty if the endpoint serves only one model.
        api_key: Empty if the endpoint requires none.
    """

    http: httpx2.AsyncClient
    url: str
    model: str
    api_key: str
    seconds: float
    overfetch: int = OVERFETCH

    async def rerank(self, query: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        """Return the best `k` by the model's relevance, which becomes their score."""
        if not hits:
            return []
        body = {"query": query, "documents": [hit.text for hit in hits], "top_n": min(k, len(hits))}
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        try:
            async with asyncio.timeout(self.seconds):
                answer = await self.http.post(
                    f"{self.url}/rerank", json=body | ({"model": self.model} if self.model else {}), headers=headers
                )
            answer.raise_for_status()
            results = _RESULTS.validate_json(answer.content).results
            scored = {result.index: result.relevance_score for result in results if 0 <= result.index < len(hits)}
        except (httpx2.HTTPError, TimeoutError, ValidationError, OSError) as error:
            logger.warning("reranking failed ({}); the fused order is kept", type(error).__name__)
            return list(hits[:k])
        best = sorted(scored, key=lambda number: -scored[number])
        return [replace(hits[number], score=scored[number]) for number in best[:k]]
