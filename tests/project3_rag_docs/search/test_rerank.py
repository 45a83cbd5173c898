"""A reranker over a real socket: its order is taken, and its absence costs the order only."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.documents import found, ready
from tests.support.running import running

Serve = Callable[..., AbstractContextManager[str]]


@contextmanager
def reranker(answer: Callable[[dict[str, Any]], Response], seen: list[dict[str, Any]]) -> Iterator[str]:
    async def rerank(request: Request) -> Response:
        body = json.loads(await request.body()) | {"authorization": request.headers.get("authorization")}
        seen.append(body)
        return answer(body)

    with running(Starlette(routes=[Route("/v1/rerank", rerank, methods=["POST"])])) as url:
        yield f"{url}/v1"


def shortest_first(body: dict[str, Any]) -> Response:
    order = sorted(range(len(body["documents"])), key=lambda place: len(body["documents"][place]))
    results = [{"index": place, "relevance_score": 1 - rank / 10} for rank, place in enumerate(order)]
    return JSONResponse({"results": results[: body["top_n"]]})


async def filenames(serve3: Serve, url: str, **settings: Any) -> list[tuple[str, float]]:
    with serve3(rerank_base_url=url, **settings) as address:
        async with httpx2.AsyncClient(base_url=address, timeout=120, trust_env=False) as client:
            await ready(client, "The library opens at nine and closes at six, every day of the week.", "long.txt")
            await ready(client, "The library opens.", "short.txt")
            await ready(client, "The library opens at nine.", "middle.txt")
            hits = await found(client, "The library opens at nine and closes at six", k=2)
            return [(hit["filename"], hit["score"]) for hit in hits]


async def test_reranked_order_is_used(serve3: Serve) -> None:
    seen: list[dict[str, Any]] = []
    with reranker(shortest_first, seen) as url:
        hits = await filenames(serve3, url, rerank_model="r", rerank_api_key="key")

    assert hits == [("short.txt", 1.0), ("middle.txt", 0.9)]
    assert (seen[0]["model"], seen[0]["top_n"], seen[0]["authorization"]) == ("r", 2, "Bearer key")
    assert len(seen[0]["documents"]) == 3


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: JSONResponse({"error": "no"}, 500),
        lambda _: Response("no JSON"),
        lambda _: JSONResponse({"results": [{"index": 99, "relevance_score": "high"}]}),
    ],
)
async def test_fused_order_is_kept_without_a_reranker(
    serve3: Serve, answer: Callable[[dict[str, Any]], Response]
) -> None:
    with reranker(answer, []) as url:
        hits = await filenames(serve3, url)

    assert [name for name, _ in hits] == ["long.txt", "middle.txt"]


async def test_unavailable_reranker_is_skipped(serve3: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections, and never says a word
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        assert len(await filenames(serve3, url, rerank_timeout_seconds=0.5)) == 2
