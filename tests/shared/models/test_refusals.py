"""Refusals in the forms of real servers, from their sources, documentation and issues."""

import json
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from shared.models.error_facts import header_seconds
from shared.models.refusals import classify, is_error
from shared.models.signs import Kind

SENT = {
    "chat": [
        *("model", "messages", "stream", "stream_options", "temperature", "max_completion_tokens", "tools"),
        *("tool_choice", "parallel_tool_calls", "response_format"),
    ],
    "embedding": ["model", "input", "encoding_format", "dimensions"],
    "chat with max_tokens": ["model", "messages", "max_tokens"],
}
LINES = Path(__file__).with_name("refusals.jsonl").read_text(encoding="utf-8").splitlines()
ROWS: dict[str, dict[str, Any]] = {row["name"]: row for row in map(json.loads, LINES)}


@pytest.mark.parametrize("name", ROWS)
def test_refusal_is_classified(name: str) -> None:
    row = ROWS[name]

    refusal = classify(row["status"], row["body"], SENT[row.get("sent", "chat")])

    assert (refusal.kind.name, refusal.parameter) == (row["kind"], row.get("parameter"))


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row["status"] is None])
def test_error_in_a_successful_response_is_recognized(name: str) -> None:
    body = ROWS[name]["body"]

    assert is_error({"error": body})
    assert is_error([{"error": body}])
    assert classify(None, [{"error": body}]).kind.name == ROWS[name]["kind"]


@pytest.mark.parametrize(
    "body",
    [
        {"object": "error", "message": "no", "code": 400},
        {"detail": [{"loc": ["body"]}]},
        {"code": 20015, "message": "no", "data": None},
        {"choices": [{"error": {"code": 502, "message": "no"}, "finish_reason": "error"}]},
        {"error": {"code": 502}, "choices": [{"delta": {}, "finish_reason": "error"}]},
        {"error": None, "choices": [{"error": {"code": 502}, "delta": {}}]},
        {"error": None, "choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
        {"success": False, "errors": [{"code": 7003, "message": "no"}]},
    ],
)
def test_error_without_an_error_field_is_recognized(body: object) -> None:
    assert is_error(body)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"delta": {"content": "error"}}], "error": None},
        {"choices": [{"message": {"content": "x"}}], "code": 0, "message": "success"},
        {"data": [{"embedding": [1]}], "code": 0, "message": "ok"},
        {"choices": [], "usage": {}},
        {"choices": [{"message": {}}], "base_resp": {"status_code": 0, "status_msg": ""}},
        [1, 2],
        "text",
        None,
    ],
)
def test_answer_is_no_error(body: object) -> None:
    assert not is_error(body)


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Please try again in 4.77s.", 5),
        ("Please try again in 20ms.", 1),
        ("please try again after 1 seconds", 1),
        ("Please retry after 9 seconds.", 9),
        ("try again in 2m59.56s", 120),
        ("Try again later", None),
    ],
)
def test_wait_is_read_from_words(words: str, seconds: int | None) -> None:
    assert classify(429, {"error": {"message": words}}).retry_after == seconds


def test_wait_is_read_from_headers() -> None:
    assert header_seconds({"retry-after": "37"}) == 37
    assert header_seconds({"retry-after": "1.2"}) == 2
    assert header_seconds({"retry-after-ms": "1500", "retry-after": "9"}) == 2
    assert header_seconds({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert header_seconds({"retry-after": "Wed, 21 Oct 2115 07:28:00 GMT"}) == 3600
    assert header_seconds({"retry-after": "soon"}) is None
    assert header_seconds({}) is None


def test_wait_is_not_passed_on_where_it_does_not_help() -> None:
    quota = {"error": {"code": "insufficient_quota", "message": "no"}}

    assert classify(429, quota, headers={"retry-after": "7"}).retry_after is None


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "bad", "code": "sk-abc123", "param": "sk-abc123", "type": "sk-abc123"}},
        {"error": {"message": "Unsupported parameter: 'sk-abc123'"}},
        {"detail": [{"loc": ["body", "sk-abc123"], "msg": "no", "input": "sk-abc123"}]},
        {"error": {"message": "the user said 'my secret plan' which is invalid"}},
    ],
)
def test_refusal_quotes_neither_key_nor_request(body: object) -> None:
    line = str(classify(400, body, SENT["chat"]))

    assert "abc123" not in line
    assert "secret" not in line


def test_deep_and_long_errors_are_bounded() -> None:
    deep: object = "maximum context length"
    for _ in range(2_000):
        deep = [deep]

    assert classify(400, deep).kind is Kind.INVALID_REQUEST
    assert classify(400, {"error": "x" * 1_000_000 + "maximum context length"}).kind is Kind.INVALID_REQUEST
    assert classify(None, "[" * 100_000).kind is Kind.FAILURE


def test_hostile_error_does_not_block_the_event_loop() -> None:
    started = process_time()

    refusal = classify(None, {"error": {str(number): "'loc': (" * 8_192 for number in range(4)}})

    assert refusal.kind is Kind.FAILURE
    assert process_time() - started < 2  # 0.1 in practice; 7 if each beginning of a path is followed to the end
