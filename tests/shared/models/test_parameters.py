"""Endpoints that refuse parameters, and parameters that an operator sets."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loguru import logger
from pydantic import BaseModel

from shared.errors import ModelMisconfigured
from shared.models.endpoint import EndpointChatModel
from tests.support.scripted_model import Behaviour, Connection, ScriptedModel, chunk, fails, in_turn, says, streams

ChatModels = Callable[..., list[EndpointChatModel]]
OPENAI = "Unsupported parameter: '{}' is not supported with this model."
AZURE = "Unrecognized request argument supplied: {}"
PYDANTIC = "[{{'type': 'extra_forbidden', 'loc': ('body', '{}'), 'msg': 'Extra inputs are not permitted', 'input': 1}}]"


def refusing(*names: str, words: str = OPENAI, answer: Behaviour | None = None, param: bool = False) -> Behaviour:
    """Refuse the first of these parameters that is in a request; answer one that has none of them."""

    async def behaviour(connection: Connection) -> None:
        for name in names:
            if name in connection.seen.body:
                error = {"message": words.format(name), "code": "invalid", "param": name if param else None}
                return await fails(400, error=error)(connection)
        return await (answer or says("Hello!"))(connection)

    return behaviour


@pytest.fixture(autouse=True)
def _lenient(model: ScriptedModel) -> None:
    model.profile = None


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{level} {message}", level="INFO")
    yield lines
    logger.remove(sink)


async def streamed(chat_model: Any, **options: Any) -> str:  # noqa: ANN401  also a bound model
    return "".join([piece.text async for piece in chat_model.astream("Hi", **options)])


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://x.openai.azure.com/openai/v1", "max_completion_tokens"),
        ("https://api.deepseek.com", "max_tokens"),
        ("http://127.0.0.1:11434/v1", "max_tokens"),
    ],
)
def test_limit_has_the_name_that_the_endpoint_knows(
    chat_models: Callable[..., list[EndpointChatModel]], base_url: str, name: str
) -> None:
    (chat_model,) = chat_models(openai_base_url=base_url)
    payload = chat_model._get_request_payload("Hi", max_tokens=50)
    assert {key: value for key, value in payload.items() if key.startswith("max_")} == {name: 50}


class TestRefusedParameters:
    @pytest.mark.parametrize("words", [OPENAI, AZURE, PYDANTIC], ids=["openai", "azure", "pydantic"])
    async def test_stream_options_are_left_out_from_then_on(
        self, chat_model: EndpointChatModel, model: ScriptedModel, words: str, log: list[str]
    ) -> None:
        model.does(refusing("stream_options", words=words))

        assert [await streamed(chat_model) for _ in range(3)] == ["Hello!"] * 3

        assert ["stream_options" in request.body for request in model.requests] == [True, False, False, False]
        assert log == ["WARNING m does not support the parameter stream_options: later calls avoid it\n"]

    @pytest.mark.parametrize("more", [{}, {"code": 400}, {"type": "invalid_request_error"}])
    async def test_refusal_in_a_stream_is_repeated_too(
        self, chat_model: EndpointChatModel, model: ScriptedModel, more: dict[str, Any]
    ) -> None:
        error = {"message": "Unsupported parameter: stream_options"} | more
        model.does(in_turn(streams(json.dumps({"error": error}).encode()), says("Hello!")))

        assert await streamed(chat_model) == "Hello!"
        assert len(model.requests) == 2

    async def test_limit_is_sent_by_its_newer_name(self, chat_model: EndpointChatModel, model: ScriptedModel) -> None:
        model.does(refusing("max_tokens"))

        for _ in range(2):
            await chat_model.ainvoke("Hi", max_tokens=50)

        limits = [(r.body.get("max_completion_tokens"), r.body.get("max_tokens")) for r in model.requests]
        assert limits == [(None, 50), (50, None), (50, None)]

    async def test_limit_without_a_name_is_left_out(self, chat_model: EndpointChatModel, model: ScriptedModel) -> None:
        model.does(refusing("max_completion_tokens", "max_tokens"))

        for _ in range(2):
            await chat_model.ainvoke("Hi", max_tokens=50)

        assert len(model.requests) == 4
        assert not {"max_completion_tokens", "max_tokens"} & model.requests[-1].body.keys()

    async def test_several_parameters_are_left_out_in_turn(
        self, chat_model: EndpointChatModel, model: ScriptedModel
    ) -> None:
        model.does(refusing("temperature", "stream_options", "parallel_tool_calls", "max_tokens"))

        for _ in range(2):
            assert await streamed(chat_model, temperature=0.5, max_tokens=9, parallel_tool_calls=False) == "Hello!"

        assert len(model.requests) == 6

    @pytest.mark.parametrize(
        ("words", "calls"),
        [
            ("Unsupported value: 'temperature' does not support 0.5. Only the default (1) value is supported.", 3),
            ("invalid temperature: only 1 is allowed for this model", 3),
            ("Invalid 'temperature': decimal above maximum value. Expected a value <= 0.4", 4),
        ],
    )
    async def test_refused_value_is_not_remembered(
        self, chat_model: EndpointChatModel, model: ScriptedModel, words: str, calls: int
    ) -> None:
        model.does(refusing("temperature", words=words))

        for _ in range(2):
            assert (await chat_model.ainvoke("Hi", temperature=0.5)).text == "Hello!"

        assert len(model.requests) == calls

    async def test_each_model_is_learned_apart(
        self, chat_models: ChatModels, model: ScriptedModel, log: list[str]
    ) -> None:
        first, second = chat_models(llm_fallback_models=("second",))
        model.does(refusing("temperature"))
        await first.ainvoke("Hi", temperature=0.5)
        await second.ainvoke("Hi", temperature=0.5)

        assert [("temperature" in r.body, r.body["model"]) for r in model.requests] == [
            (True, "m"),
            (False, "m"),
            (True, "second"),
            (False, "second"),
        ]
        assert len(log) == 2

    @pytest.mark.parametrize("name", ["messages", "model", "tools", "stream"])
    async def test_meaning_is_never_left_out(
        self, chat_model: EndpointChatModel, model: ScriptedModel, name: str, log: list[str]
    ) -> None:
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
        model.does(refusing(name, param=True))

        with pytest.raises(ModelMisconfigured) as caught:
            await streamed(chat_model.bind(tools=[tool]))

        assert len(model.requests) == 1
        assert caught.value.headers is None
        assert f"parameter {name}" in log[-1]
        assert log[-1].startswith("ERROR")

    async def test_ban_of_tools_is_never_left_out(self, chat_model: EndpointChatModel, model: ScriptedModel) -> None:
        model.does(refusing("tool_choice"))

        with pytest.raises(ModelMisconfigured):
            await chat_model.ainvoke("Hi", tool_choice="none")
        assert (await chat_model.ainvoke("Hi", tool_choice="auto")).text == "Hello!"

    async def test_stubborn_endpoint_is_not_asked_for_ever(
        self, chat_model: EndpointChatModel, model: ScriptedModel
    ) -> None:
        model.fails(400, error={"message": "Unsupported parameter: 'temperature'", "param": "temperature"})

        with pytest.raises(ModelMisconfigured):
            await chat_model.ainvoke("Hi", temperature=0.5)

        assert len(model.requests) == 2


class Grade(BaseModel):
    """A grade."""

    relevant: bool


class TestResponseFormat:
    @pytest.mark.parametrize(
        "words",
        ["This response_format type is unavailable now", "response_format.type `json_schema` is unavailable now"],
    )
    async def test_schema_goes_into_the_prompt(
        self, chat_model: EndpointChatModel, model: ScriptedModel, words: str
    ) -> None:
        async def behaviour(connection: Connection) -> None:
            if connection.seen.body.get("response_format", {}).get("type") == "json_schema":
                return await fails(400, error={"message": words, "type": "invalid_request_error"})(connection)
            return await says('{"relevant": true}')(connection)

        model.does(behaviour)
        grader = chat_model.with_structured_output(Grade, method="json_schema")

        assert await grader.ainvoke("Relevant?") == Grade(relevant=True)
        assert await grader.ainvoke([("system", "Grade."), ("user", "Relevant?")]) == Grade(relevant=True)

        assert len(model.requests) == 3
        for request in model.requests[1:]:
            assert request.body["response_format"] == {"type": "json_object"}
            assert '"relevant"' in request.body["messages"][0]["content"]
            assert [message["role"] for message in request.body["messages"]] == ["system", "user"]

    async def test_other_formats_are_kept(self, chat_model: EndpointChatModel, model: ScriptedModel) -> None:
        async def behaviour(connection: Connection) -> None:
            if connection.seen.body["response_format"]["type"] == "json_schema":
                return await fails(400, error={"message": "Unsupported response_format"})(connection)
            return await says('{"relevant": true}')(connection)

        model.does(behaviour)
        await chat_model.with_structured_output(Grade, method="json_schema").ainvoke("Relevant?")
        await chat_model.ainvoke("Write JSON", response_format={"type": "json_object"})

        assert model.requests[-1].body["response_format"] == {"type": "json_object"}

    async def test_endpoint_without_formats_gets_the_prompt_alone(
        self, chat_model: EndpointChatModel, model: ScriptedModel
    ) -> None:
        model.does(refusing("response_format", answer=says('{"relevant": false}')))

        for _ in range(2):
            grade = await chat_model.with_structured_output(Grade, method="json_schema").ainvoke("Relevant?")
            assert grade == Grade(relevant=False)

        assert len(model.requests) == 4
        assert '"relevant"' in model.requests[-1].body["messages"][0]["content"]


class TestExtraFields:
    async def test_fields_are_sent(self, chat_models: ChatModels, model: ScriptedModel) -> None:
        thinking = {"enable_thinking": False}
        first, second = chat_models(
            llm_extra_body={"chat_template_kwargs": thinking, "temperature": 0.3, "stream_options": None},
            llm_model_options={"second": {"temperature": None, "top_k": 20}},
            llm_fallback_models=("second",),
        )

        await first.ainvoke("Hi", temperature=0.5)
        await streamed(first)
        await second.ainvoke("Hi", temperature=0.5)

        bodies = [request.body for request in model.requests]
        assert [body["chat_template_kwargs"] for body in bodies] == [thinking] * 3
        assert [body.get("temperature") for body in bodies] == [0.3, 0.3, None]
        assert [body.get("top_k") for body in bodies] == [None, None, 20]
        assert not [body for body in bodies if "stream_options" in body]

    async def test_operators_field_is_never_left_out(
        self, chat_models: ChatModels, model: ScriptedModel, log: list[str]
    ) -> None:
        fields = {"provider": {"data_collection": "deny"}, "temperature": 1, "response_format": "json"}
        (chat_model,) = chat_models(llm_extra_body=fields)
        for name in fields:
            model.reset()
            model.profile = None
            model.does(refusing(name))

            with pytest.raises(ModelMisconfigured):
                await chat_model.ainvoke("Hi")

            assert len(model.requests) == 1
            assert f"parameter {name}" in log[-1]
            assert "LLM_EXTRA_BODY" in log[-1]

    async def test_wanted_parameter_is_named(
        self, chat_model: EndpointChatModel, model: ScriptedModel, log: list[str]
    ) -> None:
        words = "parameter.enable_thinking must be set to false for non-streaming calls"
        model.fails(400, error={"code": "invalid_parameter_error", "param": None, "message": words})

        with pytest.raises(ModelMisconfigured):
            await chat_model.ainvoke("Hi")

        assert "parameter enable_thinking" in log[-1]
        assert "LLM_EXTRA_BODY" in log[-1]


async def test_first_chunk_is_not_lost(chat_model: EndpointChatModel, model: ScriptedModel) -> None:
    model.does(streams(chunk({"content": "a"}), chunk({"content": "b"}, "stop"), b"[DONE]"))

    assert await streamed(chat_model) == "ab"
