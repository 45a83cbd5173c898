"""OpenAI's chat completions with the official client: streamed and whole, errors, and refused parameters."""

import uuid
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from tests.support.agent_service import AgentService
from tests.support.documents import ready
from tests.support.scripted_model import ScriptedModel, calls, fails, says

pytestmark = pytest.mark.slow
SUM = ("calculator", '{"expression": "6 * 7"}')
TIME = ("current_time", "{}")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def asked(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def test_completion_is_the_answer_of_a_run(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(TIME), says("It is late."))
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": [{"type": "text", "text": "What time is it?"}]},
    ]
    completion = await openai_client.chat.completions.create(model="agent", messages=messages)

    assert completion.choices[0].message.content == "It is late."
    assert completion.choices[0].message.tool_calls is None
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage
    assert completion.usage.total_tokens == 10
    sent = model.requests[0].body["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert sent[0]["content"].endswith("Be brief.")


async def test_stream_has_the_same_text_and_the_usage(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(TIME), says("It is late."))
    stream = await openai_client.chat.completions.create(
        model="agent", messages=asked("Time?"), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "It is late."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 3
    assert len({chunk.id for chunk in chunks}) == 1


async def test_tool_that_needs_an_approval_is_not_called(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(SUM))
    completion = await openai_client.chat.completions.create(model="agent", messages=asked("Six times seven?"))

    assert completion.choices[0].finish_reason == "stop"
    assert "calculator" in (completion.choices[0].message.content or "")
    assert "/v1/responses" in (completion.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("parameters", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
        ({"extra_body": {"stray": 1}}, "stray", "unknown_parameter"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages.0", "invalid_value"),
    ],
)
async def test_parameter_that_cannot_be_honoured_is_refused(
    openai_client: AsyncOpenAI, parameters: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await openai_client.chat.completions.create(**{"model": "agent", "messages": asked("Hi")} | parameters)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.type == "invalid_request_error"


async def test_ignored_parameters_are_named(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(says("Hi."))
    response = await openai_client.chat.completions.with_raw_response.create(
        model="agent", messages=asked("Hi"), temperature=0, max_tokens=5, tools=[], metadata={"a": "b"}
    )
    assert response.headers["X-Ignored-Parameters"] == "max_tokens, temperature"


async def test_errors_have_openais_form(openai_client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await openai_client.chat.completions.create(model="nobody", messages=asked("Hi"))
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError) as refused:
        await openai_client.with_options(api_key="wrong").models.list()
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as unknown:
        await openai_client.embeddings.create(model="agent", input="Hi")
    assert isinstance(unknown.value.body, dict)
    assert "message" in unknown.value.body


async def test_models_are_the_assistants(openai_client: AsyncOpenAI) -> None:
    models = {model.id: model async for model in await openai_client.models.list()}
    assert {"agent", "rag", "talk"} <= models.keys()
    assert "form" not in models  # it takes no messages
    assert (await openai_client.models.retrieve("agent")).id == "agent"


async def test_failed_run_has_the_status_of_its_error(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.does(fails(400, error={"code": "context_length_exceeded", "message": "maximum context length is 9"}))
    with pytest.raises(openai.BadRequestError) as refused:
        await openai_client.chat.completions.create(model="agent", messages=asked("Hi"))
    assert refused.value.code == "context_length_exceeded"
    model.does(fails(500))
    with pytest.raises(openai.InternalServerError) as failed:
        await openai_client.chat.completions.create(model="agent", messages=asked("Hi"))
    assert failed.value.status_code == 503
    stream = await openai_client.chat.completions.create(model="agent", messages=asked("Hi"), stream=True)
    with pytest.raises(openai.APIError, match="model"):
        _ = [chunk async for chunk in stream]


async def test_idempotency_key_repeats_the_completion(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(says("Once."), says("Twice."))
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answers = [
        await openai_client.chat.completions.create(model="agent", messages=asked("Hi"), extra_headers=key)
        for _ in range(2)
    ]
    assert answers[0].id == answers[1].id
    assert answers[1].choices[0].message.content == "Once."


async def test_images_reach_the_model(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(says("A dot."))
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}]
    await openai_client.chat.completions.create(model="agent", messages=messages)
    assert model.requests[0].body["messages"][-1]["content"][1] == image


async def test_citations_are_annotations(
    openai_client: AsyncOpenAI, service: AgentService, headers: dict[str, str], model: ScriptedModel
) -> None:
    async with httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=120, trust_env=False) as http:
        document = await ready(http)
    for stream in (False, True):
        model.then(says("The library opens at nine [1]."))
        ask: Any = {"model": "rag", "messages": asked("When does the library open?"), "stream": stream}
        answer = await openai_client.chat.completions.create(**ask)
        if stream:
            deltas = [chunk.choices[0].delta async for chunk in answer]
            content = "".join(delta.content or "" for delta in deltas)
            (annotations,) = [found for delta in deltas if (found := getattr(delta, "annotations", None))]
            cited = annotations[0]["url_citation"]
        else:
            content = answer.choices[0].message.content
            cited = answer.choices[0].message.annotations[0].url_citation.model_dump()
        assert content[cited["start_index"] : cited["end_index"]] == "[1]"
        assert cited["title"] == "hours.txt"
        assert cited["url"] == f"{service.url}/documents/{document['id']}/file"
    model.then(says("The library opens at nine [1]."))
    response: Any = await openai_client.responses.create(model="rag", input="When does the library open?")
    annotation = response.output[0].content[0].annotations[0]
    assert (annotation.type, annotation.file_id, annotation.filename) == ("file_citation", document["id"], "hours.txt")
