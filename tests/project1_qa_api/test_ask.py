"""Asking: whole, streamed, in a batch, and the history."""

import asyncio
import threading

import httpx2
import pytest

from tests.support.scripted_model import MODEL, ScriptedModel, fails, refuses, says, until_released
from tests.support.sse import ask_stream, events_of
from tests.support.until import until


async def test_question_is_answered(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.says("It waits for many things at once.")

    response = await client.post("/ask", json={"question": "What is an event loop?"})

    assert response.status_code == 200
    answer = response.json()
    assert answer["answer"] == "It waits for many things at once."
    assert answer["model"] == MODEL
    assert answer["usage"] == {"input_tokens": 7, "output_tokens": 7}
    assert answer["latency_ms"] > 0
    assert set(answer) == {"id", "answer", "model", "usage", "latency_ms"}


async def test_model_receives_the_request(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    await client.post("/ask", json={"question": "Hi", "system": "Be brief.", "temperature": 0.5, "max_tokens": 9})

    body = model.requests[0].body
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert body["temperature"] == 0.5
    assert body["max_tokens"] == 9
    assert body["model"] == "m"


async def test_omitted_parameters_are_not_sent(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    await client.post("/ask", json={"question": "Hi"})

    body = model.requests[0].body
    assert "temperature" not in body
    assert not body.keys() & {"max_tokens", "max_completion_tokens"}
    assert body["messages"][0]["role"] == "system"


async def test_stream_sends_tokens_then_done(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.says("one two three", finish_reason="length")

    *tokens, (last, done) = await ask_stream(client)

    assert tokens == [("token", {"text": text}) for text in ("one", " two", " three")]
    assert last == "done"
    assert done.pop("id")
    assert done.pop("latency_ms") > 0
    assert done == {
        "model": MODEL,
        "usage": {"input_tokens": 7, "output_tokens": 3},
        "finish_reason": "length",
    }


async def test_refusal_text_is_returned(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    """It comes in a field of its own, where the content is null."""
    model.does(refuses("I cannot help with that."))

    answer = await client.post("/ask", json={"question": "Hm?"})
    assert answer.json()["answer"] == "I cannot help with that."

    async with client.stream("POST", "/ask/stream", json={"question": "Hm?"}) as response:
        events = [event async for event in events_of(response)]
    assert "".join(data["text"] for name, data in events if name == "token").strip() == "I cannot help with that."


async def test_first_token_arrives_before_the_last_is_generated(
    patient_client: httpx2.AsyncClient, model: ScriptedModel
) -> None:
    read = threading.Event()
    model.says("one two three", last_word_after=read)

    async with patient_client.stream("POST", "/ask/stream", json={"question": "Hi"}) as response:
        events = events_of(response)
        assert await anext(events) == ("token", {"text": "one"})
        assert not model.requests[0].finished.is_set()
        read.set()
        rest = [event async for event in events]

    assert rest[-1][0] == "done"


async def test_stream_forbids_buffering(client: httpx2.AsyncClient) -> None:
    async with client.stream("POST", "/ask/stream", json={"question": "Hi"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"


async def test_batch_runs_concurrently_within_its_limit(
    patient_client: httpx2.AsyncClient, model: ScriptedModel
) -> None:
    side_by_side = threading.Event()
    model.does(until_released(side_by_side, says("yes", delay=0.1)))
    questions = [f"question {number}" for number in range(20)]

    asking = asyncio.create_task(patient_client.post("/ask/batch", json={"questions": questions}))
    await until(lambda: model.busiest == 4 or asking.done())  # BATCH_CONCURRENCY
    side_by_side.set()
    response = await asking

    assert response.json() == {"items": [{"question": question, "answer": "yes"} for question in questions]}
    assert len(model.requests) == 20
    assert model.busiest == 4


async def test_failed_question_does_not_fail_its_batch(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.then(fails(500))

    response = await client.post("/ask/batch", json={"questions": ["a", "b", "c"]})

    assert response.status_code == 200
    items = response.json()["items"]
    assert [item["question"] for item in items] == ["a", "b", "c"]
    failed = [item for item in items if "error" in item]
    assert len(failed) == 1
    assert set(failed[0]) == {"question", "error"}
    assert failed[0]["error"]["status"] == 503
    assert failed[0]["error"]["request_id"] == response.headers["x-request-id"]
    assert [item["answer"] for item in items if item not in failed] == ["Hello!", "Hello!"]


async def test_invalid_question_rejects_the_whole_batch(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    response = await client.post("/ask/batch", json={"questions": ["fine", "  "]})

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "questions", 1]
    assert model.requests == []


@pytest.mark.parametrize("count", [0, 21])
async def test_batch_holds_1_to_20_questions(client: httpx2.AsyncClient, count: int) -> None:
    response = await client.post("/ask/batch", json={"questions": ["q"] * count})

    assert response.status_code == 422


async def test_history_lists_exchanges_newest_first(app_url: str, model: ScriptedModel) -> None:
    async with httpx2.AsyncClient(base_url=app_url, timeout=120, trust_env=False) as http:
        model.says("first answer")
        first = (await http.post("/ask", json={"question": "first"})).json()
        model.says("second answer")
        *_, (_, done) = await ask_stream(http, question="second")
        await http.post("/ask/batch", json={"questions": ["third"]})
        model.fails()
        await http.post("/ask", json={"question": "never answered"})

        async with asyncio.timeout(120):
            while (items := await _history(http))[0]["question"] != "third":
                pass  # each is written just after its answer was sent

    assert [item["question"] for item in items[:3]] == ["third", "second", "first"]
    assert [item["answer"] for item in items[:3]] == ["second answer", "second answer", "first answer"]
    assert items[1]["id"] == done["id"]
    assert items[2]["id"] == first["id"]
    assert items[2]["created_at"] < items[1]["created_at"]


async def _history(http: httpx2.AsyncClient) -> list[dict[str, str]]:
    items: list[dict[str, str]] = (await http.get("/ask/history")).json()["items"]
    return items
