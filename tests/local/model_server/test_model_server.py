"""The embedded model server, spoken to by OpenAI's own client; and stage 1 in front of llama.cpp's own server."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import xllamacpp
from langchain_core.embeddings import Embeddings

from local.model_server.app import create_app
from local.model_server.language_models import EMBEDDED_MODELS, SMOLLM, LanguageModel, weights_of
from local.model_server.llama import chat_params
from project1_qa_api.settings import Settings
from shared.errors import ModelTimeout, ModelUnavailable
from shared.models.client import create_http_client
from shared.models.embeddings import create_embeddings
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel, fails, hangs, sends
from tests.support.sse import ask_stream

pytestmark = pytest.mark.slow

MODEL = EMBEDDED_MODELS[SMOLLM]
GGUF = weights_of(MODEL, {})
SLOTS = 4  # how many requests are answered side by side
QUESTION = "Why is the sky blue?"


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(create_app(MODEL, GGUF, tmp_path_factory.mktemp("models"))) as url:
        yield url


@pytest.fixture
async def api(server_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{server_url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_models_are_listed_with_their_limits(api: openai.AsyncOpenAI) -> None:
    models = (await api.models.list()).data

    assert [model.id for model in models] == [SMOLLM, "local-rules", "multilingual-e5-small"]
    assert "often wrong" in str(models[0].model_extra)
    assert "Not a model" in str(models[1].model_extra)


async def test_question_is_answered(api: openai.AsyncOpenAI) -> None:
    answer = await api.chat.completions.create(
        model=SMOLLM, messages=[{"role": "user", "content": QUESTION}], max_tokens=60, temperature=0
    )

    assert answer.model == SMOLLM
    assert "light" in str(answer.choices[0].message.content)
    assert answer.usage
    assert answer.usage.completion_tokens <= 60


async def test_tokens_stream_during_computation(api: openai.AsyncOpenAI) -> None:
    arrivals: list[float] = []
    usage = None
    stream = await api.chat.completions.create(
        model=SMOLLM,
        messages=[{"role": "user", "content": "Tell me a story."}],
        max_tokens=60,
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        arrivals.append(time.monotonic())
        usage = chunk.usage or usage

    assert len(arrivals) > 30
    assert usage
    # Computing 60 tokens takes about a second, sending them together would take next to nothing.
    assert arrivals[-1] - arrivals[0] > 0.05


async def test_response_follows_a_json_schema(api: openai.AsyncOpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "capital": {"type": "boolean"}},
        "required": ["city", "capital"],
        "additionalProperties": False,
    }
    answer = await api.chat.completions.create(
        model=SMOLLM,
        messages=[{"role": "user", "content": "Name a city."}],
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
        max_tokens=60,
    )

    assert set(json.loads(str(answer.choices[0].message.content))) == {"city", "capital"}


async def test_generation_stops_on_disconnect(server_url: str) -> None:
    long = {"messages": [{"role": "user", "content": "Count to a million."}], "max_tokens": 2000, "ignore_eos": True}
    async with httpx2.AsyncClient(base_url=server_url, timeout=120, trust_env=False) as http:
        asking = [asyncio.create_task(http.post("/v1/chat/completions", json=long)) for _ in range(SLOTS)]
        answered, _ = await asyncio.wait(asking, timeout=2)
        assert answered == set()
        for one in asking:
            one.cancel()
        await _assert_free(http)

        async with AsyncExitStack() as streams:
            for _ in range(SLOTS):
                request = http.stream("POST", "/v1/chat/completions", json=long | {"stream": True})
                await anext((await streams.enter_async_context(request)).aiter_raw())
        await _assert_free(http)


async def _assert_free(http: httpx2.AsyncClient) -> None:
    """Ask briefly: where the slots are still taken this waits for the rest of 2,000 tokens each."""
    short = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    async with asyncio.timeout(20):
        answer = await http.post("/v1/chat/completions", json=short)
    assert answer.status_code == 200


PASSAGES = """Answer from these sources only.

[1] The library opens at nine in the morning. It closes at six.
[2] Parking is free on Sundays.

Question: When does the library open?"""


async def test_passages_are_quoted_by_the_rules(api: openai.AsyncOpenAI) -> None:
    answer = await api.chat.completions.create(model=SMOLLM, messages=[{"role": "user", "content": PASSAGES}])
    stream = await api.chat.completions.create(
        model=SMOLLM,
        messages=[{"role": "user", "content": PASSAGES}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    assert answer.model == "local-rules"
    content = str(answer.choices[0].message.content)
    assert "The library opens at nine in the morning." in content
    assert "[1]" in content
    assert answer.choices[0].finish_reason == "stop"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == content
    assert len(chunks) > 8
    assert chunks[-1].usage == answer.usage


async def test_tools_are_called_by_the_rules(api: openai.AsyncOpenAI) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    weather = {"name": "get_weather", "description": "Current weather of a city", "parameters": parameters}
    tools: Any = [{"type": "function", "function": weather}]
    messages: Any = [{"role": "user", "content": "What is the weather in Paris?"}]

    asked = await api.chat.completions.create(model=SMOLLM, messages=messages, tools=tools)
    stream = await api.chat.completions.create(model=SMOLLM, messages=messages, tools=tools, stream=True)
    streamed = [call async for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    (call,) = asked.choices[0].message.tool_calls or []
    messages += [asked.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "18 degrees, sunny"}]
    told = await api.chat.completions.create(model=SMOLLM, messages=messages, tools=tools)

    assert asked.choices[0].finish_reason == "tool_calls"
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    assert streamed[0].function
    assert streamed[0].function.arguments == call.function.arguments
    assert "18 degrees" in str(told.choices[0].message.content)
    assert told.model == "local-rules"


async def test_configured_gguf_replaces_the_rules(tmp_path: Path) -> None:
    with running(create_app(LanguageModel("another"), GGUF, tmp_path)) as url:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            message: Any = {"role": "user", "content": PASSAGES}
            answer = await client.chat.completions.create(model="another", messages=[message], max_tokens=5)
            names = [model.id for model in (await client.models.list()).data]

    assert answer.model == "another"
    assert names == ["another", "multilingual-e5-small"]


def embeddings_of(settings: Settings, http: httpx2.AsyncClient, model: str) -> Embeddings:
    base_url, api_key = settings.openai_base_url, settings.openai_api_key
    return create_embeddings(settings, http, model=model, base_url=base_url, api_key=api_key, dimensions=384)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))  # both are of unit length


async def test_langchain_reads_embeddings(server_url: str, make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(openai_base_url=f"{server_url}/v1", llm_timeout_seconds=60)
    async with create_http_client(settings) as http:
        model = embeddings_of(settings, http, "multilingual-e5-small")
        question = await model.aembed_query("query: When does the library open?")
        near, far = await model.aembed_documents(["passage: 图书馆早上九点开门。", "passage: Cats sleep all day."])

    assert len(question) == 384
    assert math.isclose(sum(number * number for number in question), 1, rel_tol=1e-3)
    assert cosine(question, near) > cosine(question, far)


async def test_embeddings_fail_as_chat_does(make_settings: Callable[..., Settings], model: ScriptedModel) -> None:
    for behaviour, seconds, error in (
        (fails(500), 60, ModelUnavailable),
        (hangs(), 0.5, ModelTimeout),
        (sends(b"7"), 60, ModelUnavailable),
    ):
        settings = make_settings(llm_timeout_seconds=seconds)
        async with create_http_client(settings) as http:
            embeddings = embeddings_of(settings, http, "e")
            model.embeds(behaviour)
            with pytest.raises(error):
                await embeddings.aembed_query("a")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"input": ""},
        {"input": []},
        {"input": [1, 2, 3]},
        {"input": [[1, 2, 3]]},
        {"input": ["a"] * 2049},
        {"input": "a", "dimensions": 10},
        {"input": "a", "encoding_format": "hex"},
        {"input": "word " * 20_000},
    ],
)
async def test_embeddings_reject_unsupported_input(server_url: str, body: dict[str, Any]) -> None:
    async with httpx2.AsyncClient(base_url=server_url, timeout=120, trust_env=False) as http:
        response = await http.post("/v1/embeddings", json=body)

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"messages": "x"}', b'{"messages": [7]}', b"\xff"])
async def test_malformed_requests_are_rejected(server_url: str, content: bytes) -> None:
    async with httpx2.AsyncClient(base_url=server_url, timeout=120, trust_env=False) as http:
        response = await http.post("/v1/chat/completions", content=content)

    assert response.status_code == 400
    assert response.json()["error"]["message"]


async def test_too_long_context_is_reported(api: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await api.chat.completions.create(model=SMOLLM, messages=[{"role": "user", "content": "word " * 9000}])

    assert caught.value.type == "exceed_context_size_error"


async def test_stage_1_works_with_llama_cpps_server(serve: Callable[..., AbstractContextManager[str]]) -> None:
    llama = xllamacpp.Server(chat_params("independent", GGUF))
    settings = {"openai_base_url": f"{llama.listening_address}/v1", "llm_model": "independent"}
    with serve(**settings) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            whole = (await http.post("/ask", json={"question": QUESTION, "max_tokens": 60, "temperature": 0})).json()
            *tokens, (last, done) = await ask_stream(http, question=QUESTION, max_tokens=60, temperature=0)
            too_long = await http.post("/ask/batch", json={"questions": ["🦜" * 4000]})

    assert whole["model"] == "independent"
    assert "light" in whole["answer"]
    assert whole["usage"]["output_tokens"] <= 60
    assert (last, done["model"]) == ("done", "independent")
    assert done["usage"]["output_tokens"] >= len(tokens) - 1
    assert too_long.json()["items"][0]["error"]["type"] == "urn:problem:input-too-long"
