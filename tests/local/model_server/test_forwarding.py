"""Requests that the embedded model server forwards to llama.cpp, and the answers; the scripted model stands for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx2
import openai
import pytest

from local.model_server import app as model_server
from local.model_server.language_models import EMBEDDED_MODELS, QWEN, LanguageModel
from tests.support.running import running
from tests.support.scripted_model import Connection, ScriptedModel, embeds, hangs, says, sends
from tests.support.until import until

_RECORDINGS = Path(__file__).parents[2] / "shared" / "models" / "llamacpp_recordings.json"
RECORDED = json.loads(_RECORDINGS.read_text(encoding="utf-8"))
WITHOUT_RULES = LanguageModel("my-model")
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Current weather of a city", "parameters": CITY},
}
QUESTION: Any = [{"role": "user", "content": "Why is the sky blue?"}]

Serve = Callable[[LanguageModel], AbstractAsyncContextManager[openai.AsyncOpenAI]]


@pytest.fixture
def serve(model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Serves a language model while a block runs; gives a client."""

    class Llama:
        def __init__(self, _: object) -> None:
            self._client = httpx2.AsyncClient(base_url=model.base_url.removesuffix("/v1"), trust_env=False)

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            await self._client.aclose()

        async def client(self) -> httpx2.AsyncClient:
            return self._client

    monkeypatch.setattr(model_server, "Llama", Llama)
    model.embeds(vectors)

    @asynccontextmanager
    async def serve(language_model: LanguageModel) -> AsyncIterator[openai.AsyncOpenAI]:
        with running(model_server.create_app(language_model, tmp_path / "none.gguf", tmp_path)) as url:
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as client:
                yield client

    return serve


async def vectors(connection: Connection) -> None:
    """Answer with vectors; llama.cpp needs no name of a model."""
    connection.seen.body.setdefault("model", "e")
    await embeds()(connection)


async def tokens_or_answer(connection: Connection) -> None:
    """Answer llama.cpp's `/tokenize`, and a chat."""
    if connection.seen.path == "/tokenize":
        await sends(b'{"tokens": [1, 2]}')(connection)
    else:
        await says("Hello!")(connection)


def replays(model: ScriptedModel, name: str) -> None:
    recorded = RECORDED[name]
    model.does(sends(recorded["body"].encode(), recorded["content_type"], recorded["status"]))


async def test_written_call_is_converted(serve: Serve, model: ScriptedModel) -> None:
    async with serve(WITHOUT_RULES) as api:
        replays(model, "call as text")
        whole = await api.chat.completions.create(model="m", messages=QUESTION, tools=[WEATHER])
        replays(model, "call as text, streamed")
        stream = await api.chat.completions.create(model="m", messages=QUESTION, tools=[WEATHER], stream=True)
        chunks = [chunk async for chunk in stream]

    (call,) = whole.choices[0].message.tool_calls or []
    (streamed,) = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or []]
    assert call.type == "function"
    assert streamed.function
    assert json.loads(call.function.arguments) == json.loads(str(streamed.function.arguments)) == {"city": "Paris"}
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "tool_calls"
    assert chunks[-1].usage
    assert model.requests[0].body["tools"] == [WEATHER]


async def test_answer_without_tools_is_not_changed(serve: Serve, model: ScriptedModel) -> None:
    async with serve(WITHOUT_RULES) as api:
        replays(model, "call as text")
        answer = await api.chat.completions.create(model="m", messages=QUESTION)

    assert answer.choices[0].message.tool_calls is None
    assert str(answer.choices[0].message.content).startswith("```json")


async def test_error_beside_tools_is_passed_on(serve: Serve, model: ScriptedModel) -> None:
    model.profile = None
    async with serve(WITHOUT_RULES) as api:
        for stream in (False, True):
            replays(model, "context exceeded")
            with pytest.raises(openai.BadRequestError) as caught:
                await api.chat.completions.create(model="m", messages=QUESTION, tools=[WEATHER], stream=stream)
            assert caught.value.type == "exceed_context_size_error"
        replays(model, "malformed call, streamed")
        with pytest.raises(openai.APIError, match="does not match the expected"):
            async for _ in await api.chat.completions.create(
                model="m", messages=QUESTION, tools=[WEATHER], stream=True
            ):
                pass


@pytest.mark.parametrize("stream", [True, False])
async def test_disconnect_beside_tools_stops_llama_cpp(serve: Serve, model: ScriptedModel, *, stream: bool) -> None:
    model.does(hangs(after=2 if stream else 0))
    body = {"messages": QUESTION, "tools": [WEATHER], "stream": stream}
    async with serve(WITHOUT_RULES) as api, httpx2.AsyncClient(base_url=str(api.base_url), trust_env=False) as http:
        if stream:
            async with http.stream("POST", "chat/completions", json=body) as response:
                await anext(response.aiter_raw())
        else:
            asked = asyncio.create_task(http.post("chat/completions", json=body))
            await until(lambda: bool(model.requests))
            asked.cancel()
        await until(model.requests[0].finished.is_set)

    assert model.requests[0].cancelled


async def test_lone_surrogates_are_replaced(serve: Serve, model: ScriptedModel) -> None:
    model.does(says("Hello!"))
    body = rb'{"model": "m", "messages": [{"role": "user", "content": "Hi \ud800 \ud83d\ude00"}]}'
    async with serve(WITHOUT_RULES) as api, httpx2.AsyncClient(base_url=str(api.base_url), trust_env=False) as http:
        response = await http.post("chat/completions", content=body)

    assert response.status_code == 200
    assert model.requests[0].body["messages"][0]["content"] == "Hi ? \N{GRINNING FACE}"


@pytest.mark.parametrize("number", ["NaN", "1e999"])
async def test_number_that_is_not_finite_is_refused(serve: Serve, number: str) -> None:
    body = f'{{"model": "m", "messages": [], "temperature": {number}}}'
    async with serve(WITHOUT_RULES) as api, httpx2.AsyncClient(base_url=str(api.base_url), trust_env=False) as http:
        response = await http.post("chat/completions", content=body)

    assert response.status_code == 400
    assert response.json()["error"]["message"] == "The body has a number that is not finite."


async def test_tools_that_the_rules_do_not_call_are_not_forwarded(serve: Serve, model: ScriptedModel) -> None:
    """A model that is too weak for tools would call one anyway."""
    model.does(says("Because of the air."))
    async with serve(EMBEDDED_MODELS[QWEN]) as api:
        answer = await api.chat.completions.create(
            model="m", messages=QUESTION, tools=[WEATHER], tool_choice="auto", parallel_tool_calls=False
        )

    assert answer.choices[0].message.content == "Because of the air."
    assert model.requests[0].body.keys() == {"model", "messages"}


@pytest.mark.parametrize(
    ("rules_for", "by_rules"),
    [
        ({"passages"}, {"passages"}),
        ({"tools"}, {"call", "result"}),
        ({"summaries"}, {"summary"}),
        ({"passages", "tools"}, {"passages", "call", "result"}),
    ],
)
async def test_rules_answer_only_their_requests(
    serve: Serve, model: ScriptedModel, rules_for: set[str], by_rules: set[str]
) -> None:
    passages: Any = [
        {"role": "user", "content": "[1] The library opens at nine.\n[2] Parking is free.\n\nWhen does it open?"}
    ]
    asked: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function", "function": function}]}
    requests: dict[str, dict[str, Any]] = {
        "passages": {"messages": passages},
        "summary": {
            "messages": [{"role": "user", "content": "Summarize: <text>The library opens at nine on Mondays.</text>"}]
        },
        "call": {"messages": asked, "tools": [WEATHER]},
        "result": {"messages": [*asked, call, {"role": "tool", "tool_call_id": "a", "content": "sunny"}]},
    }
    model.profile = None
    answered = set()
    async with serve(LanguageModel("m", rules_for=frozenset(rules_for))) as api:
        for name, request in requests.items():
            model.does(tokens_or_answer)
            answer = await api.chat.completions.create(model="m", **request)
            if answer.model == "local-rules":
                answered.add(name)

    assert answered == by_rules
