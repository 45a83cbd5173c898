"""The embedded model server's HTTP: OpenAI's paths in front of llama.cpp."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from loguru import logger
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from shared.dev.model_server.llama import start_llama
from shared.errors import ClientClosedRequest
from shared.streaming import while_connected

WHAT_IT_IS = (
    "An embedded model for trying things out: small, quick to start, English only, often wrong. "
    "Set OPENAI_BASE_URL, OPENAI_API_KEY and LLM_MODEL for a real one."
)


def create_app(model: str, gguf: Path) -> Starlette:
    """Make the server's ASGI app.

    Args:
        model: The language model's name in answers.
        gguf: Its weights.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        logger.info("{}: {}", model, WHAT_IT_IS)
        llama = await run_in_threadpool(start_llama, model, gguf)
        timeout = httpx2.Timeout(None, connect=5)  # an answer takes as long as it takes; a client that left ends it
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(
            base_url=llama.listening_address, timeout=timeout, limits=limits, trust_env=False
        ) as http:
            app.state.llama = http
            yield

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def models(_: Request) -> Response:
        entry = {
            "id": model,
            "object": "model",
            "created": started,
            "owned_by": "embedded",
            "description": WHAT_IT_IS,
        }
        return JSONResponse({"object": "list", "data": [entry]})

    async def chat_completions(request: Request) -> Response:
        try:
            body = json.loads(await request.body())
        except ValueError:
            return _error(400, "The body is not JSON.")
        if not isinstance(body, dict):
            return _error(400, "The body is not a JSON object.")
        try:
            return await _forward(request, "/v1/chat/completions", body)
        except ClientClosedRequest:
            logger.info("the client left before its answer began; llama.cpp stops")
            return Response(status_code=499)

    started = int(time.time())
    routes = [
        Route("/health", health),
        Route("/v1/models", models),
        Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


async def _forward(request: Request, path: str, body: Mapping[str, Any]) -> Response:
    """Pass a request on to llama.cpp, and its answer back as it comes. llama.cpp stops when we hang up."""
    llama: httpx2.AsyncClient = request.app.state.llama
    async with while_connected(request):
        upstream = await llama.send(llama.build_request("POST", path, json=body), stream=True)

    async def content() -> AsyncIterator[bytes]:
        complete = False
        try:
            async with aclosing(upstream):
                async for chunk in upstream.aiter_raw():
                    yield chunk
            complete = True
        finally:
            if not complete:
                logger.info("the client left before its answer was complete; llama.cpp stops")

    return StreamingResponse(content(), upstream.status_code, media_type=upstream.headers["content-type"])


def _error(status: int, message: str) -> Response:
    """Answer with an error in OpenAI's shape."""
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error", "code": None}}, status)
