"""`ChatOpenAI` for any OpenAI-compatible endpoint: with a time limit, the service's errors, and normalized answers."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import openai
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, PrivateAttr

from shared.errors import InputKindNotSupported, ModelUnavailable
from shared.models.content_blocks import MISPLACED, PROVIDER, plain_message, with_plain_texts
from shared.models.errors import INVALID_RESPONSE, endpoint_errors
from shared.models.normalization import AnswerNormalizer, Delta
from shared.models.provider_fields import REASONING, restore_provider_fields
from shared.models.reasoning import ReasoningHabit
from shared.models.sent_messages import acceptable
from shared.models.turns import in_turns, use_portable_ids

_BROKEN_OFF = "The model's answer broke off."


def _is_openai(host: str) -> bool:
    """Return whether it is OpenAI or Azure.

    Their newer models refuse `max_tokens`; Ollama ignores the newer name. Mistral refuses the names of users.
    """
    return host.endswith((".openai.com", ".azure.com"))


class EndpointChatModel(ChatOpenAI):
    """A chat model with a time limit that raises the service's errors.

    Its messages have the answer as `content`, and the reasoning as `additional_kwargs["reasoning_content"]`, from which
    LangChain makes a `reasoning` content block.

    Attributes:
        time_limit: Seconds for a whole answer, retries included; in a stream, for each chunk.
    """

    time_limit: float
    _habit: ReasoningHabit = PrivateAttr()
    _origin: str = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401  Pydantic's signature
        """Identify the endpoint with the model, for messages that go back to it."""
        super().model_post_init(context)
        self._habit = ReasoningHabit(self.model_name)
        address = f"{self.root_async_client.base_url} {self.model_name}"
        self._origin = hashlib.sha256(address.encode()).hexdigest()[:12]  # not the address: users see it

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        given = with_plain_texts(self._convert_input(input_).to_messages())
        try:
            payload: dict[str, Any] = super()._get_request_payload(given, stop=stop, **kwargs)
        except ValueError as error:  # "Block of type … is not supported."
            raise InputKindNotSupported(InputKindNotSupported.example_detail) from error
        openai_itself = _is_openai(self.root_async_client.base_url.host)
        messages = acceptable(payload["messages"], with_names=openai_itself)
        use_portable_ids(messages)
        restore_provider_fields(messages, given, self._origin, wants_reasoning=self._habit.field)
        if "max_completion_tokens" in payload and not openai_itself:
            payload["max_tokens"] = payload.pop("max_completion_tokens")
        return payload | {"messages": in_turns(messages)}

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del run_manager
        with endpoint_errors(self.model_name):
            async with asyncio.timeout(self.time_limit):
                payload = self._get_request_payload(messages, stop=stop, **kwargs)
                schema = _take_schema(payload)
                response = await self.async_client.create(**payload)
            answer = self._normalizer(payload)
            sent = [answer.add(chunk) for chunk in response]
            if not answer.started:
                raise ModelUnavailable(INVALID_RESPONSE)
            sent.append(answer.finish())
            if answer.failed or (answer.finish_reason is None and not answer.has_whole):
                raise ModelUnavailable(_BROKEN_OFF)
            choice = {"message": answer.message(), "finish_reason": answer.finish_reason or "stop"}
            result = self._create_chat_result(answer.metadata() | {"choices": [choice]})
            result.llm_output = (result.llm_output or {}) | {"model_provider": PROVIDER}
            result.generations[0].message.additional_kwargs = self._additional_kwargs(
                answer, "".join(delta.reasoning for delta in sent), schema
            )
            return result

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        *,
        stream_usage: bool | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        if self._should_stream_usage(stream_usage, **kwargs):
            kwargs["stream_options"] = {"include_usage": True}
        payload = self._get_request_payload(messages, stop=stop, **kwargs, stream=True)
        schema = _take_schema(payload)
        answer = self._normalizer(payload)
        with endpoint_errors(self.model_name):
            async with aclosing(self._parts(answer, payload)) as parts:
                async for part in parts:
                    generation = _generation(part)
                    await _report(run_manager, generation)
                    yield generation
            last = self._last_chunk(answer, schema)
            await _report(run_manager, last)
            yield last

    async def _parts(self, answer: AnswerNormalizer, payload: dict[str, Any]) -> AsyncGenerator[Delta]:
        """Yield the parts of a streamed answer. None is empty: a fallback is possible until the first one."""
        async with aclosing(_chunks(self.async_client, payload)) as chunks:
            while True:
                async with asyncio.timeout(self.time_limit):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                for part in answer.add(chunk).parts():
                    yield part
        rest = answer.finish()
        if answer.finish_reason is None or answer.failed:
            raise ModelUnavailable(_BROKEN_OFF)
        for part in rest.parts():
            yield part

    def _normalizer(self, payload: dict[str, Any]) -> AnswerNormalizer:
        ids = [call["id"] for message in payload["messages"] for call in message.get("tool_calls") or []]
        ids += [message["tool_call_id"] for message in payload["messages"] if "tool_call_id" in message]
        names = [tool["function"]["name"] for tool in payload.get("tools") or [] if "function" in tool]
        return AnswerNormalizer(ids, names, self._habit)

    def _last_chunk(self, answer: AnswerNormalizer, schema: type[BaseModel] | None) -> ChatGenerationChunk:
        choice: dict[str, Any] = {"delta": {}, "finish_reason": answer.finish_reason}
        last = self._convert_chunk_to_generation_chunk(answer.metadata() | {"choices": [choice]}, AIMessageChunk, {})
        last = cast("ChatGenerationChunk", last)  # None only for a chunk without a delta
        last.message.response_metadata = {"model_provider": PROVIDER}
        last.message.additional_kwargs = self._additional_kwargs(answer, "", schema)
        return last

    def _additional_kwargs(
        self, answer: AnswerNormalizer, reasoning: str, schema: type[BaseModel] | None
    ) -> dict[str, Any]:
        self._habit.field = self._habit.field or answer.provider_fields.source == REASONING
        more = answer.additional_kwargs(self._origin)
        if schema and not answer.refusal:
            more["parsed"] = schema.model_validate_json(answer.text)
        return more | ({REASONING: reasoning} if reasoning else {})

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # The one place that all ways to a whole message pass: LangChain also makes one of the chunks it has streamed.
        result = await super()._agenerate_with_cache(messages, stop=stop, run_manager=run_manager, **kwargs)
        generation = result.generations[0]
        message = plain_message(cast("AIMessage", generation.message))
        result.generations = [ChatGeneration(message=message, generation_info=generation.generation_info)]
        return result

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        # Middleware compares it with the provider of messages, to know whether to trust their token counts.
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = PROVIDER
        return params


async def _chunks(completions: Any, payload: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:  # noqa: ANN401  LangChain does not type it
    async with await completions.create(**payload) as stream:
        async for chunk in stream:
            yield chunk


def _generation(delta: Delta) -> ChatGenerationChunk:
    kwargs: dict[str, Any] = {REASONING: delta.reasoning} if delta.reasoning else {}
    if delta.misplaced:
        kwargs[MISPLACED] = delta.misplaced
    calls = [
        tool_call_chunk(
            name=call["function"]["name"], args=call["function"]["arguments"], id=call["id"], index=call["index"]
        )
        for call in delta.calls
    ]
    message = AIMessageChunk(
        content=delta.text,
        additional_kwargs=kwargs,
        tool_call_chunks=calls,
        response_metadata={"model_provider": PROVIDER},
    )
    return ChatGenerationChunk(message=message)


async def _report(run_manager: AsyncCallbackManagerForLLMRun | None, chunk: ChatGenerationChunk) -> None:
    if run_manager:
        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)


def _take_schema(payload: dict[str, Any]) -> type[BaseModel] | None:
    """Replace a Pydantic class in `response_format` by its JSON schema, and return the class.

    The openai client would do so too, and then parse the answer before it is normalized.
    """
    schema = payload.get("response_format")
    if not isinstance(schema, type) or not issubclass(schema, BaseModel):
        return None
    function = openai.pydantic_function_tool(schema)["function"]
    payload["response_format"] = {
        "type": "json_schema",
        "json_schema": {"name": function["name"], "strict": True, "schema": function["parameters"]},
    }
    return schema
