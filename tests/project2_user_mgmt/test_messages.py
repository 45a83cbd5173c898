"""A user's conversation with the model."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx2
import pytest

from tests.support.scripted_model import Behaviour, ScriptedModel, fails, hangs, says, until_released
from tests.support.until import until
from tests.support.users import create


@pytest.fixture
async def messages(client2: httpx2.AsyncClient) -> str:
    """The address of a new user's messages."""
    return f"/users/{(await create(client2))['id']}/messages"


@pytest.fixture
async def patient_client2(serve2: Callable[..., AbstractContextManager[str]]) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of stage 2 that gives the model a minute: it is not the time limit that ends an answer."""
    with serve2(llm_timeout_seconds=60) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            yield http


async def conversation(client: httpx2.AsyncClient, messages: str) -> list[tuple[str, str]]:
    items: list[dict[str, Any]] = (await client.get(messages, params={"limit": 100})).json()["items"]
    return [(item["role"], item["content"]) for item in reversed(items)]


async def test_model_receives_the_conversation(
    client2: httpx2.AsyncClient, model: ScriptedModel, messages: str
) -> None:
    model.says("Hello Ada.")
    first = await client2.post(messages, json={"content": "I am Ada."})
    model.says("Ada.")
    await client2.post(messages, json={"content": "Who am I?"})

    assert first.status_code == 201
    assert set(first.json()) == {"question", "answer"}
    assert set(first.json()["answer"]) == {"id", "role", "content", "created_at"}
    assert first.json()["answer"]["content"] == "Hello Ada."
    shown = [(message["role"], message["content"]) for message in model.requests[1].body["messages"]]
    said = [("user", "I am Ada."), ("assistant", "Hello Ada."), ("user", "Who am I?")]
    assert shown[1:] == said
    assert shown[0][0] == "system"
    assert await conversation(client2, messages) == [*said, ("assistant", "Ada.")]


async def test_reasoning_is_neither_stored_nor_sent_back(
    client2: httpx2.AsyncClient, model: ScriptedModel, messages: str
) -> None:
    model.says("<think>They greet me.</think>Hello Ada.")

    answer = (await client2.post(messages, json={"content": "I am Ada."})).json()["answer"]
    await client2.post(messages, json={"content": "Who am I?"})

    assert answer["content"] == "Hello Ada."
    assert "greet" not in str(model.requests[1].body["messages"])


async def test_context_is_limited_by_tokens(client2: httpx2.AsyncClient, model: ScriptedModel, messages: str) -> None:
    model.says("字" * 500)  # some 750 tokens, as they are counted here
    for number in range(4):
        await client2.post(messages, json={"content": f"question {number}"})

    shown = [message["content"] for message in model.requests[-1].body["messages"][1:]]
    assert shown == ["question 1", "字" * 500, "question 2", "字" * 500, "question 3"]


@pytest.mark.parametrize(("behaviour", "status"), [(fails(500), 503), (hangs(), 504)])
async def test_failed_answer_stores_nothing(
    client2: httpx2.AsyncClient, model: ScriptedModel, messages: str, behaviour: Behaviour, status: int
) -> None:
    model.does(behaviour)

    assert (await client2.post(messages, json={"content": "Hi"})).status_code == status
    assert await conversation(client2, messages) == []


async def test_disconnect_stores_nothing(patient_client2: httpx2.AsyncClient, model: ScriptedModel) -> None:
    messages = f"/users/{(await create(patient_client2))['id']}/messages"
    model.does(says("too late", delay=30))
    asking = asyncio.create_task(patient_client2.post(messages, json={"content": "Hi"}))
    await until(lambda: len(model.requests) == 1)
    asking.cancel()
    await until(model.requests[0].finished.is_set)

    assert model.requests[0].cancelled
    assert await conversation(patient_client2, messages) == []


async def test_concurrent_questions_are_stored_in_pairs(
    client2: httpx2.AsyncClient, model: ScriptedModel, messages: str
) -> None:
    model.does(says("yes", delay=0.1))

    await asyncio.gather(*(client2.post(messages, json={"content": f"question {i}"}) for i in range(10)))

    said = await conversation(client2, messages)
    assert [role for role, _ in said] == ["user", "assistant"] * 10
    assert {content for role, content in said if role == "user"} == {f"question {i}" for i in range(10)}


async def test_user_deleted_during_the_call_gets_no_message(
    patient_client2: httpx2.AsyncClient, model: ScriptedModel
) -> None:
    user = f"/users/{(await create(patient_client2))['id']}"
    deleted = threading.Event()
    model.does(until_released(deleted, says("too late")))
    asking = asyncio.create_task(patient_client2.post(f"{user}/messages", json={"content": "Hi"}))
    await until(lambda: len(model.requests) == 1)

    assert (await patient_client2.delete(user)).status_code == 204
    deleted.set()

    assert (await asking).status_code == 404


async def test_deletion_of_a_user_deletes_the_messages(client2: httpx2.AsyncClient, messages: str) -> None:
    await client2.post(messages, json={"content": "Hi"})

    await client2.delete(messages.removesuffix("/messages"))

    assert (await client2.get(messages)).status_code == 404


async def test_messages_are_paginated_newest_first(client2: httpx2.AsyncClient, messages: str) -> None:
    for number in range(3):
        await client2.post(messages, json={"content": f"question {number}"})
    whole = (await client2.get(messages)).json()["items"]

    first = (await client2.get(messages, params={"limit": 4})).json()
    second = (await client2.get(messages, params={"limit": 4, "cursor": first["next_cursor"]})).json()

    assert whole[0]["role"] == "assistant"
    assert whole[1]["content"] == "question 2"
    assert first["items"] + second["items"] == whole
    assert second["next_cursor"] is None
