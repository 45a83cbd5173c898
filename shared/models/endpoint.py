"""`ChatOpenAI` with a time limit and the service's errors, wherever it is used: a route, a chain or an agent."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI

from shared.errors import ModelUnavailable
from shared.models.errors import INVALID_RESPONSE, endpoint_errors


class EndpointChatModel(ChatOpenAI):
    """A chat model with a time limit that raises the service's errors.

    Attributes:
        time_limit: Seconds for a whole answer, retries included; in a stream, for each chunk.
    """

    time_limit: float

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with endpoint_errors(self.model_name):
            async with asyncio.timeout(self.time_limit):
                payload = self._get_request_payload(messages, stop=stop, **kwargs)
                if "response_format" in payload:
                    result = await super()._agenerate(messages, stop, run_manager, **kwargs)
                else:  # as in `super()`, but without the typed response and the extra thread
                    result = self._create_chat_result(await self.async_client.create(**payload))
            if not result.generations:
                raise ModelUnavailable(INVALID_RESPONSE)
            return result

    def _create_chat_result(
        self, response: dict[str, Any] | openai.BaseModel, generation_info: dict[str, Any] | None = None
    ) -> ChatResult:
        if isinstance(response, dict):
            _invalidate_non_object_arguments(response)
        result = super()._create_chat_result(response, generation_info)
        if isinstance(response, dict):
            for generation, choice in zip(result.generations, response["choices"], strict=True):
                _use_refusal_as_content(generation.message, choice["message"])
        return result

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        generation = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        if generation and (choices := chunk.get("choices")):
            _use_refusal_as_content(generation.message, choices[0]["delta"])
        return generation

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        chunks = super()._astream(messages, stop, run_manager, **kwargs)
        buffered: list[ChatGenerationChunk] = []  # until the first one with content: a fallback is possible until then
        started = finished = False
        arguments: dict[int | None, str] = {}
        try:
            with endpoint_errors(self.model_name):
                while True:
                    async with asyncio.timeout(self.time_limit):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    for call in _tool_calls(chunk):
                        arguments[call["index"]] = arguments.get(call["index"], "") + (call["args"] or "")
                    finished = finished or "finish_reason" in (chunk.generation_info or {})
                    started = started or finished or bool(chunk.text or _tool_calls(chunk))
                    buffered.append(chunk)
                    if finished:
                        buffered += [
                            _invalid_arguments(index) for index, text in arguments.items() if _is_json_non_object(text)
                        ]
                        arguments.clear()
                    if started:
                        for ready in buffered:
                            yield ready
                        buffered.clear()
                if not finished:
                    raise ModelUnavailable("The model's answer broke off.")
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]  # an async generator; closing it ends the request


def _use_refusal_as_content(message: BaseMessage, sent: dict[str, Any]) -> None:
    # A refusal has a field of its own, and the content is null: without this it would look like an empty answer.
    if not message.content and isinstance(refusal := sent.get("refusal"), str):
        message.content = refusal


# If a tool call's arguments are JSON but not an object, LangChain drops the whole answer; if they are not JSON, it
# returns an invalid call, which is reported to the model. So this suffix turns the former into the latter.
_INVALID_SUFFIX = " is no object"


def _is_json_non_object(arguments: str) -> bool:
    try:
        return not isinstance(json.loads(arguments), dict)
    except (TypeError, ValueError, RecursionError):
        return False


def _invalid_arguments(index: int | None) -> ChatGenerationChunk:
    call = ToolCallChunk(type="tool_call_chunk", name=None, args=_INVALID_SUFFIX, id=None, index=index)
    return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))


def _invalidate_non_object_arguments(response: dict[str, Any]) -> None:
    for choice in response.get("choices") or []:
        for call in choice["message"].get("tool_calls") or []:
            if _is_json_non_object(call["function"]["arguments"]):
                call["function"]["arguments"] += _INVALID_SUFFIX


def _tool_calls(chunk: ChatGenerationChunk) -> list[ToolCallChunk]:
    return chunk.message.tool_call_chunks if isinstance(chunk.message, AIMessageChunk) else []
