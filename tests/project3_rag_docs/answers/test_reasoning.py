"""The model's reasoning about documents: never cited, never the answer, there for clients that ask for it."""

from typing import Any

import httpx2
import pytest

from tests.support.document_answers import ask
from tests.support.documents import ready
from tests.support.scripted_model import ScriptedModel
from tests.support.sse import events_of

REASONING = "Passage [1] says nine. The library opens at nine [1]."


async def ask_stream(client: httpx2.AsyncClient, **more: Any) -> list[tuple[str, Any]]:
    body = {"question": "When does the library open?"} | more
    async with client.stream("POST", "/documents/ask/stream", json=body) as response:
        assert response.status_code == 200, await response.aread()
        return [event async for event in events_of(response)]


@pytest.mark.parametrize("wanted", [True, False])
async def test_reasoning_is_returned_on_request(
    client3: httpx2.AsyncClient, model: ScriptedModel, *, wanted: bool
) -> None:
    await ready(client3, "The library opens at nine. It closes at six.")
    model.says(f"<think>{REASONING}</think>At nine o'clock [1].")

    answer = await ask(client3, "When does the library open?", **({"reasoning": True} if wanted else {}))
    events = await ask_stream(client3, **({"reasoning": True} if wanted else {}))

    assert answer["answer"] == "At nine o'clock [1]."
    assert answer.get("reasoning") == (REASONING if wanted else None)
    assert "".join(data["text"] for name, data in events if name == "token") == "At nine o'clock [1]."
    assert "".join(data["text"] for name, data in events if name == "reasoning") == (REASONING if wanted else "")
    assert events[0][0] == "sources"


async def test_reasoning_that_was_shown_as_the_answer_is_replaced(
    client3: httpx2.AsyncClient, model: ScriptedModel
) -> None:
    await ready(client3, "The library opens at nine. It closes at six.")
    text = f"{REASONING}\n</think>\n\nAt six o'clock [1]."
    model.says(text)

    events = await ask_stream(client3, reasoning=True)

    place = next(place for place, (name, _) in enumerate(events) if name == "reasoning")
    assert events[place][1] == {"text": REASONING, "replaces_tokens": True}
    assert "".join(data["text"] for name, data in events[place:] if name == "token") == "At six o'clock [1]."
    assert [citation["quote"] for citation in events[-1][1]["citations"]] == ["It closes at six."]
    model.says("At nine o'clock [1].")  # and the model is taken for one that does not reason again
    assert (await ask(client3, "When does the library open?"))["answer"] == "At nine o'clock [1]."
    model.says(text)
    assert (await ask(client3, "When does the library close?"))["answer"] == "At six o'clock [1]."
    model.says("At nine o'clock [1].")
    await ask(client3, "When does the library open?")


@pytest.mark.parametrize("answer", ["<think>{}</think>I do not know.", "<think>{}", "{}\n</think>\n\nI do not know."])
async def test_citations_in_the_reasoning_only_are_no_answer(
    client3: httpx2.AsyncClient, model: ScriptedModel, answer: str
) -> None:
    await ready(client3, "The library opens at nine. It closes at six.")
    model.says(answer.format("The library opens at nine."))

    result = await ask(client3, "When does the library open?")

    assert result["answer"] == "The documents do not say."
    assert result["citations"] == []
