"""OpenAI's chat completions with the official client: streamed and whole, errors, and what is refused."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.support.agent_service import AgentService
from tests.support.scripted_model import ScriptedModel, calls, says

pytestmark = pytest.mark.slow
SUM = ("calculator", '{"expression": "6 * 7"}')
TIME = ("current_time", "{}")


def asked(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture
async def client(service: AgentService, headers: dict[str, str]) -> AsyncIterator[AsyncOpenAI]:
    token = headers["Authorization"].removeprefix("Bearer ")
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key=token, max_retries=0) as client:
        yield client


async def test_completion_is_the_answer_of_a_run(client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(TIME), says("It is late."))
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": [{"type": "text", "text": "What time is it?"}]},
    ]
    completion = await client.chat.completions.create(model="agent", messages=messages)

    assert completion.choices[0].message.content == "It is late."
    assert completion.choices[0].message.tool_calls is None
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage
    assert completion.usage.total_tokens == 10
    sent = model.requests[0].body["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert sent[0]["content"].endswith("Be brief.")


async def test_stream_has_the_same_text_and_the_usage(client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(TIME), says("It is late."))
    stream = await client.chat.completions.create(
        model="agent", messages=asked("Time?"), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "It is late."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 3
    assert len({chunk.id for chunk in chunks}) == 1


async def test_tool_that_needs_an_approval_is_not_called(client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(SUM))
    completion = await client.chat.completions.create(model="agent", messages=asked("Six times seven?"))

    assert completion.choices[0].finish_reason == "stop"
    assert "calculator" in (completion.choices[0].message.content or "")
    assert "/v1/responses" in (completion.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("parameters", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
        ({"extra_body": {"stray": 1}}, "stray", "unknown_parameter"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages.0", "invalid_value"),
    ],
)
async def test_parameter_that_cannot_be_honoured_is_refused(
    client: AsyncOpenAI, parameters: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**{"model": "agent", "messages": asked("Hi")} | parameters)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.type == "invalid_request_error"


async def test_ignored_parameters_are_named(client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(says("Hi."))
    response = await client.chat.completions.with_raw_response.create(
        model="agent", messages=asked("Hi"), temperature=0, max_tokens=5, tools=[], metadata={"a": "b"}
    )
    assert response.headers["X-Ignored-Parameters"] == "max_tokens, temperature"


async def test_errors_have_openais_form(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="nobody", messages=asked("Hi"))
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError) as refused:
        await client.with_options(api_key="wrong").models.list()
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.embeddings.create(model="agent", input="Hi")
    assert isinstance(unknown.value.body, dict)
    assert "message" in unknown.value.body


async def test_models_are_the_assistants(client: AsyncOpenAI) -> None:
    models = {model.id: model async for model in await client.models.list()}
    assert {"agent", "rag", "talk"} <= models.keys()
    assert (await client.models.retrieve("agent")).id == "agent"
