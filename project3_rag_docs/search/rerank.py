"""Putting hits into a better order: the second of the chain's three steps.

A reranker is a model that reads the question and a passage together, and so sees more than two vectors can. No such
model is embedded; where `RERANK_BASE_URL` names an endpoint that has one, the fused ranking is its input. Without it
the fused ranking is taken as it is, and is not called anything else.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import httpx2
from loguru import logger
from pydantic import BaseModel, TypeAdapter, ValidationError

from project3_rag_docs.search.rankings import Hit

# How many hits a reranker is shown for each one that is wanted: it can only move up what it sees.
OVERFETCH = 4


class Reranker(Protocol):
    """Orders hits."""

    overfetch: int

    async def rerank(self, query: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        """Return the best `k`, the best first."""


class AsFused:
    """Leaves the order as rank fusion has made it."""

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
    """Asks an endpoint with `POST /rerank` in the form of Jina and Cohere, as llama.cpp, vLLM and TEI have it too.

    A ranking is worth having without it, so an endpoint that is away or too slow costs quality, not the answer: the
    fused order is kept, and the log says so.

    Attributes:
        http: Of the process.
        url: Of the endpoint, without `/rerank`.
        model: Which of its models; empty where it has one.
        api_key: Empty where it asks for none.
        seconds: How long it may take.
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
            logger.warning("the reranker did not answer ({}); the fused order is kept", type(error).__name__)
            return list(hits[:k])
        best = sorted(scored, key=lambda place: -scored[place])
        return [replace(hits[place], score=scored[place]) for place in best[:k]]
