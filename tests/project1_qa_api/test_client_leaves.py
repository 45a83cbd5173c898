"""A client's disconnect cancels the call of the model, as the model server sees it."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.support.scripted_model import ScriptedModel, says
from tests.support.until import until


async def model_was_stopped(model: ScriptedModel, requests: int = 1) -> None:
    await until(lambda: len(model.requests) == requests and all(seen.finished.is_set() for seen in model.requests))
    assert all(seen.cancelled for seen in model.requests)


@pytest.mark.parametrize(
    ("path", "body", "requests"),
    [
        ("/ask", {"question": "Hi"}, 1),
        ("/ask/stream", {"question": "Hi"}, 1),
        ("/ask/batch", {"questions": ["a", "b", "c"]}, 3),
    ],
)
async def test_disconnect_before_the_answer_stops_the_model(
    patient_client: httpx2.AsyncClient, model: ScriptedModel, path: str, body: dict[str, Any], requests: int
) -> None:
    model.does(says("too late", delay=30))

    asking = asyncio.create_task(patient_client.post(path, json=body))
    await until(lambda: len(model.requests) == requests)
    asking.cancel()

    await model_was_stopped(model, requests)


async def test_disconnect_in_mid_stream_stops_the_model(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.says("a long answer " * 100, tokens_per_second=20)

    async with client.stream("POST", "/ask/stream", json={"question": "Hi"}) as response:
        await anext(response.aiter_lines())

    await model_was_stopped(model)
    assert (await client.get("/health")).status_code == 200


async def test_cancelled_question_is_not_in_the_history(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.says("words " * 50, tokens_per_second=20)
    async with client.stream("POST", "/ask/stream", json={"question": "left alone"}) as response:
        await anext(response.aiter_lines())
    await model_was_stopped(model)

    items = (await client.get("/ask/history")).json()["items"]

    assert "left alone" not in [item["question"] for item in items]


async def test_connected_client_is_answered(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.does(says("in time", delay=0.3))

    response = await client.post("/ask", json={"question": "Hi"})

    assert response.json()["answer"] == "in time"
    assert not model.requests[0].cancelled
