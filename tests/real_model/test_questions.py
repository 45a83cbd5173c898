"""Stages 1 and 2 in front of a real model."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from local.model_server.language_models import QWEN
from tests.real_model.conftest import Serve, is_chinese
from tests.real_model.llama import ONLY_THOUGHTS, SLOTS, THOUGHTS, busy_slots, extra_body
from tests.support.databases import Databases
from tests.support.processes import served
from tests.support.sse import ask_stream, events_of
from tests.support.until import until

LONG = "Count from one to five hundred in words."


@pytest.fixture
async def http(serve1: Serve) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of stage 1."""
    with serve1() as url:
        async with client(url) as http:
            yield http


def client(url: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=url, timeout=600, trust_env=False)


def text_of(events: list[tuple[str, Any]]) -> str:
    return "".join(data["text"] for name, data in events if name == "token")


@pytest.mark.parametrize(("question", "chinese"), [("What is HTTP?", False), ("什么是 HTTP？请用中文回答。", True)])
async def test_answer_is_in_the_language_of_the_question(
    http: httpx2.AsyncClient, question: str, chinese: bool
) -> None:
    response = await http.post("/ask", json={"question": question, "max_tokens": 60})
    events = await ask_stream(http, question=question, max_tokens=60)

    answer = response.json()
    assert response.status_code == 200
    assert answer["model"] == QWEN
    assert 0 < answer["usage"]["output_tokens"] <= 60
    assert is_chinese(answer["answer"]) is chinese
    assert is_chinese(text_of(events)) is chinese
    assert [name for name, _ in events].count("token") > 5
    assert events[-1][0] == "done"
    assert events[-1][1]["finish_reason"] in ("stop", "length")
    assert 0 < events[-1][1]["usage"]["output_tokens"] <= 60


async def test_parallel_requests_are_all_answered(http: httpx2.AsyncClient) -> None:
    """More requests than llama.cpp has slots: the others wait in its queue."""
    questions = [f"What is {number} plus one?" for number in range(SLOTS * 2)]
    batch, *streams = await asyncio.gather(
        http.post("/ask/batch", json={"questions": questions}),
        *(ask_stream(http, question=question, max_tokens=20) for question in questions[:SLOTS]),
    )

    assert [item["answer"] != "" for item in batch.json()["items"]] == [True] * len(questions)
    assert [events[-1][0] for events in streams] == ["done"] * SLOTS


async def test_generation_stops_when_the_client_disconnects(http: httpx2.AsyncClient, llama: str) -> None:
    async with http.stream("POST", "/ask/stream", json={"question": LONG, "max_tokens": 2000}) as response:
        async for name, _ in events_of(response):
            assert name == "token"
            break
        assert busy_slots(llama) == 1

    await until(lambda: busy_slots(llama) == 0, 60)


async def test_input_beyond_the_context_is_an_error_of_the_client(serve1: Serve, small_llama: str) -> None:
    question = "word " * 790
    with serve1(openai_base_url=small_llama) as url:
        async with client(url) as http:
            whole = await http.post("/ask", json={"question": question})
            streamed = await http.post("/ask/stream", json={"question": question})
            short = await http.post("/ask", json={"question": "What is HTTP?", "max_tokens": 5})

    for response in (whole, streamed):
        assert response.status_code == 422
        assert response.json()["type"] == "urn:problem:input-too-long"
        assert "retry-after" not in response.headers
    assert short.status_code == 200


async def test_answer_ends_where_the_context_ends(serve1: Serve, small_llama: str) -> None:
    with serve1(openai_base_url=small_llama, llm_extra_body='{"ignore_eos": true}') as url:
        async with client(url) as http:
            events = await ask_stream(http, question="word " * 400, max_tokens=2000)

    assert events[-1][0] == "done", events[-1]
    assert events[-1][1]["finish_reason"] == "length"
    assert 0 < events[-1][1]["usage"]["output_tokens"] < 150


@pytest.mark.parametrize("reasoning_format", ["deepseek", "none", "auto"])
async def test_reasoning_is_kept_apart_from_the_answer(
    serve1: Serve, thinking_llama: str, reasoning_format: str
) -> None:
    body = {"question": "What is HTTP?", "reasoning": True}
    with serve1(openai_base_url=thinking_llama, llm_extra_body=extra_body(THOUGHTS, reasoning_format)) as url:
        async with client(url) as http:
            whole = (await http.post("/ask", json=body)).json()
            unasked = (await http.post("/ask", json=body | {"reasoning": False})).json()
            events = await ask_stream(http, **body)

    assert whole["reasoning"].strip()
    assert whole["answer"].strip()
    assert "think>" not in whole["answer"] + whole["reasoning"] + text_of(events)
    assert "reasoning" not in unasked
    assert unasked["answer"].strip()
    assert {name for name, _ in events} == {"reasoning", "token", "done"}


@pytest.mark.parametrize("reasoning_format", ["deepseek", "none"])
async def test_reasoning_without_an_answer_is_not_one(
    serve1: Serve, thinking_llama: str, reasoning_format: str
) -> None:
    with serve1(openai_base_url=thinking_llama, llm_extra_body=extra_body(ONLY_THOUGHTS, reasoning_format)) as url:
        async with client(url) as http:
            whole = await http.post("/ask", json={"question": "What is HTTP?"})
            events = await ask_stream(http, question="What is HTTP?")

    assert whole.status_code == 200
    assert whole.json()["answer"] == ""
    assert text_of(events) == ""


async def test_conversation_is_sent_with_its_history(environment: dict[str, str], databases: Databases) -> None:
    with (
        databases.migrated("project2_user_mgmt") as database_url,
        served("project2_user_mgmt", environment | {"DATABASE_URL": database_url}) as (url, _),
    ):
        async with client(url) as http:
            account = {"email": "ada@example.com", "name": "Ada", "password": "correct horse battery staple"}
            user = (await http.post("/users", json=account)).json()
            answers = []
            for content in ("我叫小明，住在杭州。", "我住在哪里？"):
                response = await http.post(f"/users/{user['id']}/messages", json={"content": content})
                assert response.status_code == 201, response.text
                answers.append(response.json()["answer"]["content"])
            listed = (await http.get(f"/users/{user['id']}/messages")).json()["items"]

    assert all(is_chinese(answer) for answer in answers)
    assert "杭州" in answers[1]  # only the first message says it
    assert [message["role"] for message in listed] == ["assistant", "user"] * 2
