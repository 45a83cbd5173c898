"""The embedded model server's HTTP API: OpenAI's paths in front of llama.cpp and the rules.

Free text is forwarded to llama.cpp's own server. The rules (`local-rules`) answer the requests with numbered passages,
for summaries or with tools that they handle better than the language model. Tool calls that the model writes as text
are converted.
"""

import base64
import json
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from loguru import logger
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from local.model_server import embeddings, rules
from local.model_server.e5_gguf import e5_gguf
from local.model_server.language_models import LanguageModel
from local.model_server.llama import Llama, chat_params
from local.model_server.replies import completion, completion_events
from local.model_server.written_calls import callable_tools, convert_completion, convert_events
from shared.errors import ClientClosedRequest
from shared.streaming import cancel_on_disconnect

_DESCRIPTIONS = {
    rules.MODEL: "Not a model: rules that quote passages, summarize and call tools, better than a tiny model does.",
    embeddings.MODEL: "An embedded model with 384 dimensions. Texts need the prefix `query: ` or `passage: `.",
}
_TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls")
_MAX_QUESTION = 500  # characters; a single text up to this length does not wait for longer ones or batches
_MAX_INPUTS = 2048  # the limit of OpenAI's endpoint


class BadRequest(Exception):
    """An invalid request, with a message for the client."""


def create_app(model: LanguageModel, gguf: Path, cache: Path) -> Starlette:
    """Create the server's ASGI app.

    Args:
        model: The language model.
        gguf: File with the model's weights.
        cache: Folder for the repacked weights of the embedding model.
    """
    names = [model.name, *([rules.MODEL] if model.rules_for else []), embeddings.MODEL]
    descriptions = _DESCRIPTIONS | {model.name: model.description}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        for name in names:
            logger.info("{}: {}", name, descriptions[name])
        async with AsyncExitStack() as stack:
            app.state.chat = await stack.enter_async_context(Llama(lambda: chat_params(model.name, gguf)))
            # Two servers share the weights of one model, so that a question does not wait for a whole book.
            app.state.e5_batches, app.state.e5_questions = [
                await stack.enter_async_context(Llama(lambda: embeddings.embedding_params(e5_gguf(cache))))
                for _ in range(2)
            ]
            await app.state.chat.client()  # loads the model before the first question
            yield

    started = int(time.time())

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def models(_: Request) -> Response:
        common = {"object": "model", "created": started, "owned_by": "embedded"}
        return JSONResponse(
            {"object": "list", "data": [{"id": name, "description": descriptions[name]} | common for name in names]}
        )

    async def chat_completions(request: Request, body: dict[str, Any]) -> Response:
        async with cancel_on_disconnect(request):
            reply = await rules.answer_by_rules(body, _embedder(request), model.rules_for) if model.rules_for else None
            if reply is not None:
                return await _answer_by_rules(request, body, reply)
        if "tools" in model.rules_for:  # the rules call none of them, and the model would call a wrong one
            body = {name: value for name, value in body.items() if name not in _TOOL_FIELDS}
        return await _forward(request, "/v1/chat/completions", body)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/chat/completions", _json_endpoint(chat_completions), methods=["POST"]),
            Route("/v1/embeddings", _json_endpoint(_embeddings), methods=["POST"]),
        ],
        lifespan=lifespan,
    )


def _json_endpoint(
    handle: Callable[[Request, dict[str, Any]], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Call a handler with the request's JSON object, and return errors in OpenAI's format."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handle(request, _json_object(await request.body()))
        except BadRequest as error:
            problem = {"message": str(error), "type": "invalid_request_error", "code": None}
            return JSONResponse({"error": problem}, 400)
        except ClientClosedRequest:
            logger.info("client disconnected before its answer started; stopping llama.cpp")
            return Response(status_code=499)

    return endpoint


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
        if b"\\ud" in content.lower():  # lone surrogates, which no answer and no request to llama.cpp may contain
            body = json.loads(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise BadRequest("The body is not a JSON object.")
    return body


async def _forward(request: Request, path: str, body: Mapping[str, Any]) -> Response:
    """Forward a request to llama.cpp and stream its answer. llama.cpp stops when the connection is closed."""
    tools = callable_tools(body)
    async with cancel_on_disconnect(request):
        llama: httpx2.AsyncClient = await request.app.state.chat.client()
        try:
            forwarded = llama.build_request("POST", path, json=body)
        except ValueError:
            raise BadRequest("The body has a number that is not finite.") from None
        upstream = await llama.send(forwarded, stream=True)
        if tools and upstream.is_success and not body.get("stream"):
            async with aclosing(upstream):
                answer = json.loads(await upstream.aread())
            convert_completion(answer, tools)
            return JSONResponse(answer)

    async def content() -> AsyncIterator[bytes]:
        complete = False
        try:
            async with aclosing(upstream):
                received = upstream.aiter_raw()
                async for chunk in convert_events(received, tools) if tools and upstream.is_success else received:
                    yield chunk
            complete = True
        finally:
            if not complete:
                logger.info("client disconnected before its answer was complete; stopping llama.cpp")

    return StreamingResponse(content(), upstream.status_code, media_type=upstream.headers["content-type"])


async def _answer_by_rules(request: Request, body: Mapping[str, Any], reply: rules.RulesReply) -> Response:
    read = await _count_tokens(request, json.dumps(body.get("messages"), ensure_ascii=False))
    written = await _count_tokens(request, reply.content or "".join(call.arguments for call in reply.tool_calls))
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    if not body.get("stream"):
        return JSONResponse(completion(reply, usage))
    options = body.get("stream_options")
    include_usage = isinstance(options, dict) and options.get("include_usage") is True
    return StreamingResponse(
        completion_events(reply, usage, include_usage=include_usage), media_type="text/event-stream"
    )


async def _count_tokens(request: Request, text: str) -> int:
    llama: httpx2.AsyncClient = await request.app.state.chat.client()
    answer = await llama.post("/tokenize", json={"content": text.encode("utf-8", "replace").decode()})
    return len(answer.json()["tokens"])


def _embedder(request: Request) -> rules.Embed:
    async def embed(texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return (await embeddings.embed(await request.app.state.e5_questions.client(), texts)).vectors

    return embed


async def _embeddings(request: Request, body: dict[str, Any]) -> Response:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        # Token ids would come from another model's vocabulary, and silently mean something else.
        raise BadRequest("`input` must be a non-empty text or a list of them; token ids are not supported.")
    if len(texts) > _MAX_INPUTS:
        raise BadRequest(f"`input` may contain at most {_MAX_INPUTS} texts.")
    if body.get("dimensions") not in (None, embeddings.DIMENSIONS):
        raise BadRequest(f"`dimensions` must be {embeddings.DIMENSIONS}.")
    form = body.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise BadRequest("`encoding_format` must be float or base64.")
    state = request.app.state
    is_question = len(texts) == 1 and len(texts[0]) <= _MAX_QUESTION
    e5: Llama = state.e5_questions if is_question else state.e5_batches
    try:
        async with cancel_on_disconnect(request):
            embedded = await embeddings.embed(await e5.client(), texts)
    except embeddings.TextTooLong as error:
        raise BadRequest(str(error)) from None
    data = [
        {"object": "embedding", "index": index, "embedding": vector if form == "float" else _base64(vector)}
        for index, vector in enumerate(embedded.vectors)
    ]
    usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
    return JSONResponse({"object": "list", "model": embeddings.MODEL, "data": data, "usage": usage})


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
