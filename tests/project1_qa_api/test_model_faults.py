"""A model endpoint that fails in every way it can: the client gets a problem, never a 500, never a library's text."""

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx2
import pytest

from tests.support.scripted_model import (
    Behaviour,
    ScriptedModel,
    chunk,
    fails,
    hangs,
    resets_after,
    says,
    sends,
    speaks,
    streams,
)
from tests.support.sse import ask_stream

Serve = Callable[..., AbstractContextManager[str]]

CONTEXT_EXCEEDED = {"code": "context_length_exceeded", "type": "invalid_request_error", "message": "too long"}
LLAMA_CONTEXT_EXCEEDED = {"code": 400, "type": "exceed_context_size_error", "message": "too long"}

# How the model misbehaves before its first token, and the problem that the client receives.
FAULTS: dict[str, tuple[Behaviour, int, str]] = {
    "500": (fails(500), 503, "model-unavailable"),
    "502 of a proxy": (sends(b"<html>Bad gateway</html>", "text/html", 502), 503, "model-unavailable"),
    "429": (fails(429), 503, "model-unavailable"),
    "401": (fails(401), 503, "model-unavailable"),
    "404": (fails(404), 503, "model-unavailable"),
    "400": (fails(400), 503, "model-unavailable"),
    "context": (fails(400, error=CONTEXT_EXCEEDED), 422, "input-too-long"),
    "context of llama.cpp": (fails(400, error=LLAMA_CONTEXT_EXCEEDED), 422, "input-too-long"),
    "reset": (resets_after(0), 503, "model-unavailable"),
    "not http": (speaks(b"SSH-2.0-OpenSSH_9.6\r\n"), 503, "model-unavailable"),
    "broken gzip": (sends(b"no gzip", "application/json\r\nContent-Encoding: gzip"), 503, "model-unavailable"),
    "a redirect to nowhere": (sends(b"", "text/html\r\nLocation: file:///etc/passwd", 302), 503, "model-unavailable"),
    "silence": (hangs(), 504, "model-timeout"),
    "html": (sends(b"<html>Welcome</html>", "text/html"), 503, "model-unavailable"),
    "broken json": (sends(b'{"choices": [{', "application/json"), 503, "model-unavailable"),
    "another json": (sends(b'{"hello": "world"}', "application/json"), 503, "model-unavailable"),
    "a list": (sends(b"[1, 2]", "application/json"), 503, "model-unavailable"),
    "null": (sends(b"null", "application/json"), 503, "model-unavailable"),
    "no choices": (sends(b'{"choices": [], "model": "m"}', "application/json"), 503, "model-unavailable"),
    "null message": (sends(b'{"choices": [{"message": null}]}', "application/json"), 503, "model-unavailable"),
    "wrong types": (sends(b'{"choices": "x", "usage": 7}', "application/json"), 503, "model-unavailable"),
    "not utf-8": (sends(b'{"choices": "\xff\xfe"}', "application/json"), 503, "model-unavailable"),
    "nothing": (sends(b"", "application/json"), 503, "model-unavailable"),
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
    behaviour, status, kind = FAULTS[fault]
    model.does(behaviour)

    response = await client.post(path, json={"question": "Hi"})

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in response.headers) == (status == 503)
    assert_problem(response.json(), status, kind)


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


async def test_long_retry_after_is_not_awaited(serve: Serve, model: ScriptedModel) -> None:
    model.fails(429, headers={"Retry-After": "30"})
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
            model.then(fails(401), resets_after(0), says("from the third"))
            assert ("token", {"text": "from"}) in await ask_stream(http)
            assert [seen.body["model"] for seen in model.requests] == ["m", "second", "third"]

            model.reset()
            model.fails(500)
            assert (await http.post("/ask", json={"question": "Hi"})).status_code == 503
            assert len(model.requests) == 3


async def test_too_long_request_is_not_sent_to_the_fallback(serve: Serve, model: ScriptedModel) -> None:
    model.fails(400, error=CONTEXT_EXCEEDED)
    with serve(llm_fallback_models="second") as url:
        response = httpx2.post(f"{url}/ask", json={"question": "Hi"}, timeout=60)

    assert response.status_code == 422
    assert len(model.requests) == 1


async def test_usage_is_null_without_token_counts(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.does(streams(chunk({"content": "a"}), chunk({}, "stop"), b"[DONE]"))
    *_, (_, done) = await ask_stream(client)
    assert done["usage"] is None

    message = {"role": "assistant", "content": "a"}
    model.does(sends(json.dumps({"choices": [{"index": 0, "message": message}], "model": "m"}).encode()))
    assert (await client.post("/ask", json={"question": "Hi"})).json()["usage"] is None
