"""Input at its limits: valid input is answered, everything else is a 4xx in the one error shape."""

import json
from typing import Any

import httpx2
import pytest

from tests.support.scripted_model import ScriptedModel

JSON = {"content-type": "application/json"}


def assert_invalid(response: httpx2.Response, *loc: str | int) -> None:
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == "urn:problem:invalid-request"
    assert problem["status"] == 422
    assert problem["request_id"] == response.headers["x-request-id"]
    assert set(problem["errors"][0]) == {"loc", "msg", "type"}
    assert problem["errors"][0]["loc"][: len(loc)] == list(loc)


@pytest.mark.parametrize(
    "question", ["?", "x" * 4000, "🦜" * 4000, "什么是事件循环？", "  padded  ", "a\nb\tc", "\ufffe"]
)
async def test_valid_question_is_accepted(client: httpx2.AsyncClient, model: ScriptedModel, question: str) -> None:
    response = await client.post("/ask", json={"question": question})

    assert response.status_code == 200
    assert model.requests[0].body["messages"][-1]["content"] == question


async def test_number_without_a_fraction_is_an_integer(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    response = await client.post("/ask", content=b'{"question": "a", "max_tokens": 5.0}', headers=JSON)

    assert response.status_code == 200
    assert model.requests[0].body["max_tokens"] == 5


@pytest.mark.parametrize("path", ["/ask", "/ask/stream"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"question": ""}, "question", id="empty"),
        pytest.param({"question": " \n\t\u3000"}, "question", id="blank"),
        pytest.param({"question": "x" * 4001}, "question", id="too long"),
        pytest.param({"question": "a\0b"}, "question", id="NUL"),
        pytest.param({"question": None}, "question", id="null"),
        pytest.param({"question": 7}, "question", id="a number"),
        pytest.param({"question": ["a"]}, "question", id="a list"),
        pytest.param({}, "question", id="missing"),
        pytest.param({"question": "a", "colour": "red"}, "colour", id="unknown field"),
        pytest.param({"question": "a", "system": ""}, "system", id="empty system"),
        pytest.param({"question": "a", "system": "a\0b"}, "system", id="NUL in system"),
        pytest.param({"question": "a", "temperature": 2.1}, "temperature", id="too hot"),
        pytest.param({"question": "a", "temperature": -0.1}, "temperature", id="too cold"),
        pytest.param({"question": "a", "temperature": "warm"}, "temperature", id="temperature in words"),
        pytest.param({"question": "a", "temperature": False}, "temperature", id="temperature yes or no"),
        pytest.param({"question": "a", "max_tokens": "5"}, "max_tokens", id="tokens in words"),
        pytest.param({"question": "a", "max_tokens": 0}, "max_tokens", id="no tokens"),
        pytest.param({"question": "a", "max_tokens": 1.5}, "max_tokens", id="half a token"),
        pytest.param({"question": "a", "max_tokens": 10**30}, "max_tokens", id="endless tokens"),
    ],
)
async def test_invalid_field_is_rejected(
    client: httpx2.AsyncClient, model: ScriptedModel, path: str, body: dict[str, Any], field: str
) -> None:
    response = await client.post(path, json=body)

    assert_invalid(response, "body", field)
    assert len(response.json()["errors"]) == 1
    assert model.requests == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"question=Hi", id="a form"),
        pytest.param(b'{"question": "Hi"', id="cut off"),
        pytest.param(b'"Hi"', id="a string"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"question": "\\ud800"}', id="lone surrogate"),
        pytest.param(b'{"question": "a", "\\udfff": 1}', id="lone surrogate in a name"),
        pytest.param(b'{"question": "a", "temperature": NaN}', id="NaN"),
        pytest.param(b'{"question": "a", "temperature": 1e999}', id="infinity"),
        pytest.param(b'{"question": "a", "' + b"x" * 100_000 + b'": 1}', id="endless name"),
    ],
)
async def test_body_without_a_question_is_rejected(client: httpx2.AsyncClient, content: bytes) -> None:
    response = await client.post("/ask", content=content, headers=JSON)

    assert_invalid(response, "body")
    assert len(response.content) < 2000


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xff\xfe\x00", id="not UTF-8"),
        pytest.param(b"[" * 200_000, id="deep"),
        pytest.param(b'{"a":' * 100_000, id="deep objects"),
        pytest.param(b'{"question": ' + b"9" * 5000 + b"}", id="a number of 5,000 digits"),
    ],
)
async def test_malformed_json_is_rejected(client: httpx2.AsyncClient, content: bytes) -> None:
    response = await client.post("/ask", content=content, headers=JSON)

    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 400


async def test_other_content_type_is_rejected(client: httpx2.AsyncClient) -> None:
    body = json.dumps({"question": "Hi"}).encode()

    assert_invalid(await client.post("/ask", content=body, headers={"content-type": "text/plain"}), "body")
    assert_invalid(await client.post("/ask", content=body), "body")


async def test_errors_never_echo_the_input(client: httpx2.AsyncClient) -> None:
    response = await client.post("/ask", json={"question": {"password": "hunter2"}})

    assert response.status_code == 422
    assert "hunter2" not in response.text
