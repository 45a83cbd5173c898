"""The baseline of stage 4: the same graph in bare LangGraph, with its own checkpoint saver, behind Starlette.

One process without tables of threads or runs, without a worker, a queue, shared events or authentication.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bench.graphs.echo import builder
from bench.servers import serve_handed_socket


def _encode(value: Any) -> bytes:  # noqa: ANN401  any JSON
    return orjson.dumps(value, default=lambda one: one.model_dump())


async def _health(_request: Request) -> Response:
    return Response(b"{}")


async def _create(_request: Request) -> Response:
    return Response(_encode({"thread_id": str(uuid4())}), media_type="application/json")


def _config(request: Request) -> dict[str, Any]:
    return {"configurable": {"thread_id": request.path_params["thread_id"]}}


async def _wait(request: Request) -> Response:
    body = orjson.loads(await request.body())
    result = await request.app.state.graph.ainvoke(body["input"], _config(request))
    return Response(_encode(result), media_type="application/json")


async def _stream(request: Request) -> Response:
    body = orjson.loads(await request.body())

    async def events() -> AsyncIterator[bytes]:
        yield b'event: metadata\ndata: {"run_id": null}\n\n'
        stream = request.app.state.graph.astream(body["input"], _config(request), stream_mode=body["stream_mode"])
        async for mode, data in stream:
            yield b"event: %b\ndata: %b\n\n" % (mode.encode(), _encode(data))

    return StreamingResponse(events(), media_type="text/event-stream")


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    settings: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(os.environ["DATABASE_URL"], max_size=10, kwargs=settings) as pool:
        app.state.graph = builder.compile(checkpointer=AsyncPostgresSaver(pool))  # type: ignore[arg-type]  # such a pool
        yield


app = Starlette(
    routes=[
        Route("/health", _health),
        Route("/threads", _create, methods=["POST"]),
        Route("/threads/{thread_id}/runs/wait", _wait, methods=["POST"]),
        Route("/threads/{thread_id}/runs/stream", _stream, methods=["POST"]),
    ],
    lifespan=_lifespan,
)

if __name__ == "__main__":
    serve_handed_socket(app)
