"""The model's reasoning: apart from the answer, for clients that ask for it, and never a part of the history."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from tests.support.scripted_model import Behaviour, ScriptedModel, chunk, sends, streams
from tests.support.sse import ask_stream

REASONING, ANSWER = "Let me see. It may be 42.", "It is 42."


def whole(message: dict[str, Any], finish_reason: str = "stop") -> Behaviour:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish_reason}
    return sends(json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode())


def pieces(name: str, text: str) -> list[bytes]:
    return [chunk({name: text[place : place + 3]}) for place in range(0, len(text), 3)]


def streamed(*chunks: bytes, finish_reason: str = "stop") -> Behaviour:
    return streams(*chunks, chunk({}, finish_reason), b"[DONE]")


async def stored_answer(client: httpx2.AsyncClient, question: str) -> str:
    """Return the newest answer of the history when it is that of a question: it is stored after the response."""
    async with asyncio.timeout(60):
        while True:
            items: list[dict[str, str]] = (await client.get("/ask/history")).json()["items"]
            if items and items[0]["question"] == question:
                return items[0]["answer"]


THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": REASONING}]}
FORMS: dict[str, tuple[Behaviour, Behaviour]] = {
    "tags": (
        whole({"content": f"<think>\n{REASONING}\n</think>\n\n{ANSWER}"}),
        streamed(*pieces("content", f"<think>\n{REASONING}\n</think>\n\n{ANSWER}")),
    ),
    "field": (
        whole({"content": ANSWER, "reasoning_content": REASONING}),
        streamed(*pieces("reasoning_content", REASONING), *pieces("content", ANSWER)),
    ),
    "another field": (
        whole({"content": ANSWER, "reasoning": REASONING}),
        streamed(*pieces("reasoning", REASONING), *pieces("content", ANSWER)),
    ),
    "parts": (
        whole({"content": [THINKING, {"type": "text", "text": ANSWER}]}),
        streamed(chunk({"content": [THINKING]}), *pieces("content", ANSWER)),
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wanted", [True, False])
async def test_whole_answer_has_reasoning_on_request(
    client: httpx2.AsyncClient, model: ScriptedModel, form: str, *, wanted: bool
) -> None:
    model.does(FORMS[form][0])

    answer = (await client.post("/ask", json={"question": "Hi"} | ({"reasoning": True} if wanted else {}))).json()

    assert answer["answer"] == ANSWER
    assert answer.get("reasoning") == (REASONING if wanted else None)
    assert ("reasoning" in answer) == wanted


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wanted", [True, False])
async def test_stream_has_reasoning_on_request(
    client: httpx2.AsyncClient, model: ScriptedModel, form: str, *, wanted: bool
) -> None:
    model.does(FORMS[form][1])

    events = await ask_stream(client, **({"reasoning": True} if wanted else {}))

    names = [name for name, _ in events]
    assert "".join(data["text"] for name, data in events if name == "token") == ANSWER
    assert "".join(data["text"] for name, data in events if name == "reasoning") == (REASONING if wanted else "")
    assert names == sorted(names, key=["reasoning", "token", "done"].index)
    assert names[-1] == "done"


async def test_reasoning_without_an_opening_tag_is_no_answer(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.does(whole({"content": f"{REASONING}\n</think>\n\n{ANSWER}"}))
    assert (await client.post("/ask", json={"question": "Hi"})).json()["answer"] == ANSWER

    model.does(streamed(*pieces("content", f"{REASONING}\n</think>\n\n{ANSWER}")))  # of the same model: it is known now
    assert "".join(data["text"] for name, data in await ask_stream(client) if name == "token") == ANSWER

    model.does(streamed(*pieces("content", ANSWER)))  # it does not reason this time
    assert "".join(data["text"] for name, data in await ask_stream(client) if name == "token") == ANSWER


async def test_reasoning_that_arrived_as_tokens_is_sent_again(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.does(streamed(*pieces("content", f"{REASONING}\n</think>\n\n{ANSWER}")))

    events = await ask_stream(client, question="Is it taken back?", reasoning=True)

    place = next(place for place, (name, _) in enumerate(events) if name == "reasoning")
    assert events[place][1] == {"text": REASONING, "replaces_tokens": True}
    assert "".join(data["text"] for name, data in events[place:] if name == "token") == ANSWER
    assert await stored_answer(client, "Is it taken back?") == ANSWER
    model.does(streamed(*pieces("content", ANSWER)))
    await ask_stream(client)


@pytest.mark.parametrize("wanted", [True, False])
async def test_reasoning_without_an_answer_is_an_empty_answer(
    client: httpx2.AsyncClient, model: ScriptedModel, *, wanted: bool
) -> None:
    model.does(streamed(*pieces("content", f"<think>{REASONING}"), finish_reason="length"))

    *events, (last, done) = await ask_stream(client, reasoning=wanted)

    assert [name for name, _ in events if name == "token"] == []
    assert (last, done["finish_reason"]) == ("done", "length")


async def test_history_has_the_answer_only(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.does(FORMS["tags"][1])
    await ask_stream(client, question="What is it?", reasoning=True)

    assert await stored_answer(client, "What is it?") == ANSWER


async def test_batch_has_the_answers_only(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.does(FORMS["tags"][0])

    answer = (await client.post("/ask/batch", json={"questions": ["Hi", "Hello"]})).json()

    assert answer["items"] == [{"question": question, "answer": ANSWER} for question in ("Hi", "Hello")]


async def test_failure_after_reasoning_is_an_event(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.does(streams(*pieces("reasoning_content", REASONING)))

    *_, (last, problem) = await ask_stream(client)

    assert (last, problem["status"]) == ("error", 503)
