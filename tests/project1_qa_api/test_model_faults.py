"""A model endpoint that fails in every way it can: the client gets a problem, never a 500, never a library's text."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from loguru import logger

from tests.support.scripted_model import (
    Behaviour,
    ScriptedModel,
    chunk,
    fails,
    hangs,
    resets_after,
    says,
    sends,
    sends_json,
    speaks,
    streams,
)
from tests.support.sse import ask_stream

Serve = Callable[..., AbstractContextManager[str]]

CONTEXT_EXCEEDED = {"code": "context_length_exceeded", "type": "invalid_request_error", "message": "too long"}
LLAMA_CONTEXT_EXCEEDED = {"code": 400, "type": "exceed_context_size_error", "message": "too long"}

QUOTA = {"code": "insufficient_quota", "type": "insufficient_quota", "message": "sk-secret exceeded your current quota"}
FILTERED = {"code": "content_filter", "param": "prompt", "message": "sk-secret", "innererror": {"code": "x"}}
REFUSED = {"message": "sk-secret: order of messages", "type": "invalid_request_error", "param": "messages"}
VLLM_TOO_LONG = {
    "object": "error",
    "message": "This model's maximum context length is 9 tokens. sk-secret",
    "code": 400,
}
GEMINI_TOO_LONG = [
    {"error": {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens"}}
]
DEEPSEEK_FILTERED = {"error": {"message": "Content Exists Risk", "code": "invalid_request_error", "param": None}}
NGINX_TOO_LARGE = b"<html><title>413 Request Entity Too Large</title></html>"
LOADING = {"message": "Loading model", "type": "unavailable_error", "code": 503}


@dataclass
class Answer:
    """The problem that a client receives, and whether the response says when to try again."""

    status: int
    kind: str
    retry: bool = False


TEMPORARY = Answer(503, "model-unavailable", retry=True)
PERMANENT = Answer(503, "model-unavailable")
TIMEOUT = Answer(504, "model-timeout")
TOO_LONG = Answer(422, "input-too-long")
REJECTED = Answer(422, "input-filtered")

# How the model misbehaves before its first token.
FAULTS: dict[str, tuple[Behaviour, Answer]] = {
    "500": (fails(500), TEMPORARY),
    "502 of a proxy": (sends(b"<html>Bad gateway</html>", "text/html", 502), TEMPORARY),
    "503 while it loads": (fails(503, error=LOADING), TEMPORARY),
    "429": (fails(429), TEMPORARY),
    "429 without quota": (fails(429, error=QUOTA), PERMANENT),
    "402": (fails(402), PERMANENT),
    "401": (fails(401), PERMANENT),
    "403": (fails(403), PERMANENT),
    "404": (fails(404), PERMANENT),
    "400": (fails(400), PERMANENT),
    "400 for the messages": (fails(400, error=REFUSED), PERMANENT),
    "context": (fails(400, error=CONTEXT_EXCEEDED), TOO_LONG),
    "context of llama.cpp": (fails(400, error=LLAMA_CONTEXT_EXCEEDED), TOO_LONG),
    "context of vllm": (sends_json(VLLM_TOO_LONG, status=400), TOO_LONG),
    "context of gemini": (sends_json(GEMINI_TOO_LONG, status=400), TOO_LONG),
    "context in a 200": (sends_json(VLLM_TOO_LONG), TOO_LONG),
    "body too large for a proxy": (sends(NGINX_TOO_LARGE, "text/html", 413), TOO_LONG),
    "filter": (fails(400, error=FILTERED), REJECTED),
    "filter of deepseek": (sends_json(DEEPSEEK_FILTERED, status=400), REJECTED),
    "filter in a 200": (sends_json({"error": FILTERED}), REJECTED),
    "an error in a 200": (sends_json({"error": {"message": "sk-secret", "code": 502}}), TEMPORARY),
    "reset": (resets_after(0), TEMPORARY),
    "not http": (speaks(b"SSH-2.0-OpenSSH_9.6\r\n"), TEMPORARY),
    "broken gzip": (sends(b"no gzip", "application/json\r\nContent-Encoding: gzip"), TEMPORARY),
    "a redirect to nowhere": (sends(b"", "text/html\r\nLocation: file:///etc/passwd", 302), TEMPORARY),
    "silence": (hangs(), TIMEOUT),
    "html": (sends(b"<html>Welcome</html>", "text/html"), TEMPORARY),
    "broken json": (sends(b'{"choices": [{', "application/json"), TEMPORARY),
    "another json": (sends(b'{"hello": "world"}', "application/json"), TEMPORARY),
    "a list": (sends(b"[1, 2]", "application/json"), TEMPORARY),
    "null": (sends(b"null", "application/json"), TEMPORARY),
    "no choices": (sends(b'{"choices": [], "model": "m"}', "application/json"), TEMPORARY),
    "null message": (sends(b'{"choices": [{"message": null}]}', "application/json"), TEMPORARY),
    "wrong types": (sends(b'{"choices": "x", "usage": 7}', "application/json"), TEMPORARY),
    "not utf-8": (sends(b'{"choices": "\xff\xfe"}', "application/json"), TEMPORARY),
    "nothing": (sends(b"", "application/json"), TEMPORARY),
}
STREAM_FAULTS: dict[str, Behaviour] = {
    "broken json": streams(b'{"choices": [{'),
    "text": streams(b"hello"),
    "a number": streams(b"7"),
    "another json": streams(b'{"hello": "world"}'),
    "wrong types": streams(b'{"choices": "x"}'),
    "an error": streams(json.dumps({"error": {"message": "sk-secret-in-a-message overloaded"}}).encode()),
    "no end": streams(),
    "only the end": streams(b"[DONE]"),
}


# Errors in a stream that began with 200: as the data of an event, or as an event of the type `error`.
STREAM_ERRORS: dict[str, tuple[bytes, Answer]] = {
    "openai": (json.dumps({"error": CONTEXT_EXCEEDED}).encode(), TOO_LONG),
    "vllm": (json.dumps(VLLM_TOO_LONG).encode(), TOO_LONG),
    "gemini": (json.dumps(GEMINI_TOO_LONG).encode(), TOO_LONG),
    "lm studio": (b'{"error": "the model is loaded with context length of only 9 tokens sk-secret"}', TOO_LONG),
    "fastapi": (b'{"detail": "Content Exists Risk"}', REJECTED),
    "filter": (json.dumps({"error": FILTERED, "choices": []}).encode(), REJECTED),
    "quota": (json.dumps({"error": QUOTA}).encode(), PERMANENT),
    "key": (b'{"code": 401, "message": "sk-secret"}', PERMANENT),
    "overloaded": (b'{"error": {"message": "sk-secret overloaded"}}', TEMPORARY),
    "openrouter": (b'{"error": {"code": 502}, "choices": [{"delta": {}, "finish_reason": "error"}]}', TEMPORARY),
}


@pytest.fixture
def log() -> Iterator[list[str]]:
    """The lines that are logged."""
    lines: list[str] = []
    sink = logger.add(lines.append, format="{level} {message}")
    yield lines
    logger.remove(sink)


def assert_problem(problem: dict[str, Any], status: int, kind: str) -> None:
    assert problem["status"] == status
    assert problem["type"] == f"urn:problem:{kind}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"]
    assert "sk-secret" not in json.dumps(problem)


@pytest.mark.parametrize("path", ["/ask", "/ask/stream"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_fault_before_the_first_token_is_a_problem(
    client: httpx2.AsyncClient, model: ScriptedModel, path: str, fault: str
) -> None:
    behaviour, answer = FAULTS[fault]
    model.does(behaviour)

    response = await client.post(path, json={"question": "Hi"})

    assert response.status_code == answer.status
    assert response.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in response.headers) == answer.retry
    assert_problem(response.json(), answer.status, answer.kind)


@pytest.mark.parametrize("event_type", [b"", b"event: error\n"], ids=["data", "event"])
@pytest.mark.parametrize("error", STREAM_ERRORS)
async def test_error_event_before_the_first_token_is_a_problem(
    client: httpx2.AsyncClient, model: ScriptedModel, error: str, event_type: bytes
) -> None:
    data, answer = STREAM_ERRORS[error]
    model.does(sends(event_type + b"data: " + data + b"\n\n", "text/event-stream"))

    response = await client.post("/ask/stream", json={"question": "Hi"})

    assert response.status_code == answer.status
    assert ("retry-after" in response.headers) == answer.retry
    assert_problem(response.json(), answer.status, answer.kind)


@pytest.mark.parametrize("error", STREAM_ERRORS)
async def test_error_event_in_mid_stream_is_the_last_event(
    client: httpx2.AsyncClient, model: ScriptedModel, error: str
) -> None:
    data, answer = STREAM_ERRORS[error]
    model.does(streams(chunk({"content": "a"}), chunk({"content": "b"}), data))

    *tokens, (last, problem) = await ask_stream(client)

    assert [name for name, _ in tokens] == ["token", "token"]
    assert last == "error"
    assert_problem(problem, answer.status, answer.kind)


async def test_error_event_as_text_is_a_problem(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.does(sends(b"event: error\ndata: maximum context length exceeded\n\n", "text/event-stream"))

    response = await client.post("/ask/stream", json={"question": "Hi"})

    assert_problem(response.json(), 422, "input-too-long")


async def test_json_error_in_place_of_a_stream_is_a_problem(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.does(sends_json({"error": CONTEXT_EXCEEDED}))

    response = await client.post("/ask/stream", json={"question": "Hi"})

    assert_problem(response.json(), 422, "input-too-long")


@pytest.mark.filterwarnings(
    "ignore:Pydantic serializer warnings"
)  # of the openai library, about the response it received
@pytest.mark.parametrize("fault", STREAM_FAULTS)
async def test_garbage_in_the_stream_is_a_problem(client: httpx2.AsyncClient, model: ScriptedModel, fault: str) -> None:
    model.does(STREAM_FAULTS[fault])

    response = await client.post("/ask/stream", json={"question": "Hi"})

    assert response.status_code == 503
    assert_problem(response.json(), 503, "model-unavailable")


async def test_closed_port_is_unavailable(serve: Serve) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # it does not listen, and nobody else can
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        with serve(openai_base_url=address) as url, httpx2.Client(base_url=url, timeout=120, trust_env=False) as http:
            for path in ("/ask", "/ask/stream"):
                response = http.post(path, json={"question": "Hi"})
                assert response.status_code == 503
                assert response.headers["retry-after"] == "5"
                assert_problem(response.json(), 503, "model-unavailable")
            assert http.get("/ready").json()["checks"]["model"] == {"status": "unreachable", "required": False}


async def test_endpoint_without_http_is_unavailable(serve: Serve) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with serve(openai_base_url=f"http://127.0.0.1:{port}/v1") as url:
            async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
                ready = await http.get("/ready")

    assert ready.status_code == 200
    assert ready.json()["checks"]["model"]["status"] == "unreachable"


async def test_retry_after_of_the_model_is_forwarded(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.fails(429, headers={"Retry-After": "37"})

    response = await client.post("/ask", json={"question": "Hi"})

    assert response.status_code == 503
    assert response.headers["retry-after"] == "37"


@pytest.mark.parametrize(
    ("behaviour", "status", "kind"),
    [
        pytest.param(resets_after(2), 503, "model-unavailable", id="reset"),
        pytest.param(hangs(after=2), 504, "model-timeout", id="silence"),
        pytest.param(streams(chunk({"content": "a"}), chunk({"content": "b"})), 503, "model-unavailable", id="no end"),
        pytest.param(
            streams(chunk({"content": "a"}), chunk({"content": "b"}), b"garbage"),
            503,
            "model-unavailable",
            id="garbage",
        ),
    ],
)
async def test_fault_in_mid_stream_is_the_last_event(
    client: httpx2.AsyncClient, model: ScriptedModel, behaviour: Behaviour, status: int, kind: str
) -> None:
    model.does(behaviour)

    *tokens, (last, problem) = await ask_stream(client)

    assert [name for name, _ in tokens] == ["token", "token"]
    assert last == "error"
    assert_problem(problem, status, kind)


async def test_failed_call_is_retried(serve: Serve, model: ScriptedModel) -> None:
    with serve(llm_max_retries=1) as url:
        model.then(fails(500))
        assert httpx2.post(f"{url}/ask", json={"question": "Hi"}, timeout=60).status_code == 200
        assert len(model.requests) == 2

        model.reset()
        model.then(fails(500), fails(500))
        assert httpx2.post(f"{url}/ask", json={"question": "Hi"}, timeout=60).status_code == 503
        assert len(model.requests) == 2


@pytest.mark.parametrize(
    "behaviour",
    [
        fails(429, headers={"Retry-After": "30"}),
        fails(429, error={"message": "Rate limit reached: Limit 6000, Used 5034. Please try again in 29.4s."}),
    ],
    ids=["header", "words"],
)
async def test_long_retry_after_is_not_awaited(serve: Serve, model: ScriptedModel, behaviour: Behaviour) -> None:
    model.does(behaviour)
    with serve(llm_max_retries=2) as url:
        response = httpx2.post(f"{url}/ask", json={"question": "Hi"}, timeout=60)

    assert response.headers["retry-after"] == "30"
    assert len(model.requests) == 1


async def test_fallback_models_are_tried_in_order(serve: Serve, model: ScriptedModel) -> None:
    with serve(llm_fallback_models="second,third", llm_timeout_seconds=5) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            model.then(fails(500), hangs(), says("from the third"))
            assert (await http.post("/ask", json={"question": "Hi"})).json()["answer"] == "from the third"
            assert [seen.body["model"] for seen in model.requests] == ["m", "second", "third"]

            model.reset()
            model.then(fails(404), resets_after(0), says("from the third"))
            assert ("token", {"text": "from"}) in await ask_stream(http)
            assert [seen.body["model"] for seen in model.requests] == ["m", "second", "third"]

            model.reset()
            model.fails(500)
            assert (await http.post("/ask", json={"question": "Hi"})).status_code == 503
            assert len(model.requests) == 3


@pytest.mark.parametrize(
    ("behaviour", "calls"),
    [
        pytest.param(fails(400, error=CONTEXT_EXCEEDED), 1, id="too long"),
        pytest.param(fails(400, error=FILTERED), 1, id="filtered"),
        pytest.param(fails(401), 1, id="key"),
        pytest.param(fails(402), 2, id="quota"),
        pytest.param(fails(403), 2, id="permission"),
        pytest.param(fails(404), 2, id="model"),
        pytest.param(fails(400, error=REFUSED), 2, id="refused"),
        pytest.param(fails(429), 2, id="rate limit"),
    ],
)
async def test_fallback_is_called_if_another_model_can_help(
    serve: Serve, model: ScriptedModel, behaviour: Behaviour, calls: int
) -> None:
    model.does(behaviour)
    with serve(llm_fallback_models="second") as url:
        for path in ("/ask", "/ask/stream"):
            httpx2.post(f"{url}{path}", json={"question": "Hi"}, timeout=60)

    assert len(model.requests) == 2 * calls


@pytest.mark.parametrize(
    ("behaviour", "calls"),
    [
        pytest.param(fails(500), 2, id="failure"),
        pytest.param(fails(503), 2, id="overloaded"),
        pytest.param(fails(429, headers={"Retry-After": "1"}), 2, id="rate limit"),
        pytest.param(fails(429, error=QUOTA), 1, id="quota"),
        pytest.param(fails(500, error=LLAMA_CONTEXT_EXCEEDED), 1, id="too long, with 500"),
        pytest.param(fails(500, error=FILTERED), 1, id="filtered, with 500"),
    ],
)
async def test_failed_call_is_repeated_if_waiting_helps(
    serve: Serve, model: ScriptedModel, behaviour: Behaviour, calls: int
) -> None:
    model.does(behaviour)
    with serve(llm_max_retries=1) as url:
        httpx2.post(f"{url}/ask", json={"question": "Hi"}, timeout=60)

    assert len(model.requests) == calls


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (fails(400, error=REFUSED), "parameter messages"),
        (fails(429, error=QUOTA), "quota exhausted (429, insufficient_quota)"),
        (fails(401), "OPENAI_API_KEY"),
    ],
)
async def test_operators_problem_is_logged_as_an_error(
    client: httpx2.AsyncClient,
    model: ScriptedModel,
    behaviour: Behaviour,
    words: str,
    log: list[str],
) -> None:
    model.does(behaviour)

    await client.post("/ask", json={"question": "my secret question"})

    (line,) = [line for line in log if line.startswith("ERROR")]
    assert words in line
    assert "secret" not in "".join(log)


@pytest.mark.parametrize("behaviour", [fails(400, error=CONTEXT_EXCEEDED), fails(400, error=FILTERED), fails(429)])
async def test_clients_problem_is_not_logged_as_an_error(
    client: httpx2.AsyncClient, model: ScriptedModel, behaviour: Behaviour, log: list[str]
) -> None:
    model.does(behaviour)

    await client.post("/ask", json={"question": "Hi"})

    assert log
    assert not [line for line in log if line.startswith("ERROR")]


async def test_usage_is_null_without_token_counts(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.does(streams(chunk({"content": "a"}), chunk({}, "stop"), b"[DONE]"))
    *_, (_, done) = await ask_stream(client)
    assert done["usage"] is None

    message = {"role": "assistant", "content": "a"}
    model.does(sends(json.dumps({"choices": [{"index": 0, "message": message}], "model": "m"}).encode()))
    assert (await client.post("/ask", json={"question": "Hi"})).json()["usage"] is None


async def test_characters_that_cannot_be_sent_are_replaced(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    message = {"role": "assistant", "content": "a\ud83d \0b", "reasoning_content": "\udc00"}
    model.does(sends_json({"choices": [{"message": message, "finish_reason": "stop"}]}))
    whole = await client.post("/ask", json={"question": "Hi", "reasoning": True})
    halves = [chunk({"content": "\ud83d"}), chunk({"content": "\ude00"}), chunk({"content": "\0\udc00"}, "stop")]
    model.does(streams(*halves, b"[DONE]"))
    streamed = await ask_stream(client)

    assert (whole.status_code, whole.json()["answer"], whole.json()["reasoning"]) == (200, "a� �b", "�")
    assert [(name, data.get("text")) for name, data in streamed] == [("token", "😀"), ("token", "��"), ("done", None)]


async def test_name_of_the_model_that_is_no_text_is_ignored(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    message = {"role": "assistant", "content": "a"}
    model.does(
        sends_json({"model": {"name": "m"}, "id": 7, "choices": [{"message": message, "finish_reason": "stop"}]})
    )
    model_name = (await client.post("/ask", json={"question": "Hi"})).json()["model"]

    assert isinstance(model_name, str)
