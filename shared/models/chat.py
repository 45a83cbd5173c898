"""The language models behind one OpenAI-compatible endpoint, as LangChain chat models.

`EndpointChatModel` is LangChain's `ChatOpenAI` with what a service needs on top, wherever the model is then used (a
route, a chain, an agent): it is given a bounded time, and it fails with the service's own errors.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar, cast

import httpx2
import openai
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from loguru import logger
from pydantic import SecretStr

from shared.errors import InputTooLongForModel, ModelTimeout, ModelUnavailable, ServiceError
from shared.settings import Settings

ChatModel = Runnable[LanguageModelInput, AIMessage]
Output = TypeVar("Output")

_CONNECT_SECONDS = 5.0
_LONGEST_RETRY_AFTER = 2.0  # seconds: a longer wait is the client's to choose, so it is told instead
_CONTEXT_EXCEEDED = {"context_length_exceeded", "exceed_context_size_error"}  # OpenAI's and vLLM's; llama.cpp's
_UNREACHABLE = "The model endpoint could not be reached. Try again shortly."
_BROKEN = "The model endpoint sent something that is no answer. Try again shortly."


def create_http_client(settings: Settings) -> httpx2.AsyncClient:
    """Make the HTTP client for the model endpoint: one for the process, to be closed at its end."""
    return openai.DefaultAioHttpClient(
        timeout=httpx2.Timeout(settings.llm_timeout_seconds, connect=_CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=0, max_keepalive_connections=100),  # 0: no limit; None would be 100
        event_hooks={"response": [_no_long_waits]},
        follow_redirects=False,
    )


def create_chat_models(settings: Settings, http: httpx2.AsyncClient) -> "list[EndpointChatModel]":
    """Make the chat models that the settings name: the first, and those that stand in for it, in their order.

    Args:
        settings: Names the endpoint, the models, the time for each and its retries.
        http: From `create_http_client`.
    """
    client = openai.AsyncOpenAI(
        base_url=settings.openai_base_url,
        api_key=settings.openai_api_key.get_secret_value() or "none",  # local servers ask for no key
        max_retries=settings.llm_max_retries,
        http_client=http,
    )
    return [
        EndpointChatModel(
            model=name,
            api_key=client.api_key,
            root_async_client=client,
            async_client=UntypedCompletions(client),
            stream_usage=True,  # LangChain leaves it out for endpoints other than OpenAI's own
            use_responses_api=False,
            stream_chunk_timeout=None,
            answer_seconds=settings.llm_timeout_seconds,
        )
        for name in (settings.llm_model, *settings.llm_fallback_models)
    ]


def create_chat_model(settings: Settings, http: httpx2.AsyncClient) -> ChatModel:
    """Make the chat model that the settings name, with its fallbacks.

    Args:
        settings: As for `create_chat_models`.
        http: From `create_http_client`.

    Returns:
        A Runnable: messages in, an `AIMessage` out; `astream` gives its chunks. Both raise `ModelUnavailable`,
        `ModelTimeout` or `InputTooLongForModel`. A stream falls back only until its first chunk.
    """
    return with_fallbacks(create_chat_models(settings, http))


def with_fallbacks(models: Sequence[Runnable[LanguageModelInput, Output]]) -> Runnable[LanguageModelInput, Output]:
    """Let the first of some models answer, and the next one where it fails."""
    first, *others = models
    if not others:
        return first
    return first.with_fallbacks(others, exceptions_to_handle=(ModelUnavailable, ModelTimeout))


def create_embeddings(
    settings: Settings, http: httpx2.AsyncClient, *, model: str, base_url: str, api_key: SecretStr, length: int
) -> Embeddings:
    """Make an embedding model.

    Args:
        settings: The time for a call and its retries.
        http: From `create_http_client`.
        model: The embedding model's name.
        base_url: Of an OpenAI-compatible endpoint, which may be another than the chat model's.
        api_key: For it; empty where it asks for none.
        length: Of its vectors.

    Returns:
        LangChain's interface: texts in, one vector each out. Its asynchronous methods raise `ModelUnavailable`,
        `ModelTimeout` or `InputTooLongForModel`.
    """
    return EndpointEmbeddings(
        model=model,
        openai_api_base=base_url,
        openai_api_key=SecretStr(api_key.get_secret_value() or "none"),
        max_retries=settings.llm_max_retries,
        http_async_client=http,
        # Its own count needs tables that are downloaded, and sends the ids of a vocabulary that is OpenAI's alone.
        check_embedding_ctx_length=False,
        answer_seconds=settings.llm_timeout_seconds,
        length=length,
    )


async def endpoint_answers(settings: Settings, http: httpx2.AsyncClient, seconds: float = 1.0) -> bool:
    """Ask the endpoint for its list of models.

    Returns:
        Whether it answered in time, with whatever status: an endpoint that wants another key is reachable.
    """
    key = settings.openai_api_key.get_secret_value()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with asyncio.timeout(seconds):
            await http.get(f"{settings.openai_base_url}/models", headers=headers)
    except Exception:  # noqa: BLE001  whatever it is that it raised, it was no answer
        return False
    return True


class EndpointChatModel(ChatOpenAI):
    """`ChatOpenAI` that keeps to a time and raises the service's errors.

    Attributes:
        answer_seconds: For a whole answer, its retries included; in a stream, for each wait for the next chunk.
    """

    answer_seconds: float

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with _endpoint_errors(self.model_name):
            async with asyncio.timeout(self.answer_seconds):
                payload = self._get_request_payload(messages, stop=stop, **kwargs)
                if "response_format" in payload:
                    result = await super()._agenerate(messages, stop, run_manager, **kwargs)
                else:  # what `super()` does too, but after a typed parse and in another thread
                    result = self._create_chat_result(await self.async_client.create(**payload))
            if not result.generations:
                raise ModelUnavailable(_BROKEN)
            return result

    def _create_chat_result(
        self, response: dict[str, Any] | openai.BaseModel, generation_info: dict[str, Any] | None = None
    ) -> ChatResult:
        if isinstance(response, dict):
            _mark_wrong_arguments(response)
        result = super()._create_chat_result(response, generation_info)
        if isinstance(response, dict):
            for generation, choice in zip(result.generations, response["choices"], strict=True):
                _say_refusal(generation.message, choice["message"])
        return result

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        generation = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        if generation and (choices := chunk.get("choices")):
            _say_refusal(generation.message, choices[0]["delta"])
        return generation

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        chunks = super()._astream(messages, stop, run_manager, **kwargs)
        held: list[ChatGenerationChunk] = []  # until the first one that says something: then no fallback is possible
        started = finished = False
        arguments: dict[int | None, str] = {}
        try:
            with _endpoint_errors(self.model_name):
                while True:
                    async with asyncio.timeout(self.answer_seconds):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    for call in _tool_calls(chunk):
                        arguments[call["index"]] = arguments.get(call["index"], "") + (call["args"] or "")
                    finished = finished or "finish_reason" in (chunk.generation_info or {})
                    started = started or finished or bool(chunk.text or _tool_calls(chunk))
                    held.append(chunk)
                    if finished:
                        held += [_marked(index) for index, text in arguments.items() if _is_no_object(text)]
                        arguments.clear()
                    if started:
                        for ready in held:
                            yield ready
                        held.clear()
                if not finished:
                    raise ModelUnavailable("The model's answer broke off.")
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]  # it is an async generator: this ends the request


class EndpointEmbeddings(OpenAIEmbeddings):
    """`OpenAIEmbeddings` that keeps to a time and raises the service's errors.

    Attributes:
        answer_seconds: For one call of the endpoint's, its retries included.
        length: Of a vector. One of another length is refused before anything is done with it.
    """

    answer_seconds: float
    length: int

    async def aembed_documents(
        self, texts: list[str], chunk_size: int | None = None, **kwargs: Any
    ) -> list[list[float]]:
        """Embed texts, as they are: a model that wants prefixes is given them by the caller."""
        with _endpoint_errors(self.model):
            async with asyncio.timeout(self.answer_seconds):
                vectors = await super().aembed_documents(texts, chunk_size, **kwargs)
            if wrong := {len(vector) for vector in vectors} - {self.length}:
                logger.error("{} gives vectors of {} numbers; {} are expected", self.model, wrong, self.length)
                detail = f"The embedding model gives vectors of {min(wrong)} numbers, and {self.length} are expected."
                raise ModelUnavailable(detail, retry_after=60)
            return vectors


class UntypedCompletions:
    """`client.chat.completions` that gives the endpoint's JSON as it is.

    The openai client builds a Pydantic model of each answer and each chunk, which LangChain takes apart into
    dictionaries again: a third of the time of a call. Retries, headers and errors are the client's own.
    """

    _OPTIONS: ClassVar = {
        "extra_headers": "headers",
        "extra_query": "params",
        "extra_body": "extra_json",
        "timeout": "timeout",
    }

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client

    async def create(self, *, stream: bool = False, **payload: Any) -> Any:  # noqa: ANN401  it is JSON
        """Ask the endpoint.

        Args:
            stream: Whether the answer is to come in chunks.
            payload: The request's fields, and the client's own options (`extra_body`, `timeout`, …).

        Returns:
            The answer; or an asynchronous iterator of chunks that is also a context manager.
        """
        options = {option: payload.pop(name) for name, option in self._OPTIONS.items() if name in payload}
        return await self._client.post(
            "/chat/completions",
            cast_to=object,
            body=payload | {"stream": stream},
            options=cast("Any", options),
            stream=stream,
            stream_cls=openai.AsyncStream[object],
        )


def _say_refusal(message: BaseMessage, sent: dict[str, Any]) -> None:
    # A refusal comes in a field of its own, and the content is null: without this, as an answer of no words.
    if not message.content and isinstance(refusal := sent.get("refusal"), str):
        message.content = refusal


_MARK = " is no object"


def _is_no_object(arguments: str) -> bool:
    try:
        return not isinstance(json.loads(arguments), dict)
    except (TypeError, ValueError, RecursionError):
        return False


def _marked(index: int | None) -> ChatGenerationChunk:
    call = ToolCallChunk(type="tool_call_chunk", name=None, args=_MARK, id=None, index=index)
    return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))


def _mark_wrong_arguments(response: dict[str, Any]) -> None:
    # Arguments that are JSON and no object are a fault of the model's, which it can be told; LangChain takes an answer
    # with such a call for none at all. What is no JSON it hands on as an invalid call.
    for choice in response.get("choices") or []:
        for call in choice["message"].get("tool_calls") or []:
            if _is_no_object(call["function"]["arguments"]):
                call["function"]["arguments"] += _MARK


def _tool_calls(chunk: ChatGenerationChunk) -> list[ToolCallChunk]:
    return chunk.message.tool_call_chunks if isinstance(chunk.message, AIMessageChunk) else []


@contextmanager
def _endpoint_errors(model: str) -> Iterator[None]:
    """Turn whatever a call of the endpoint raises into a `ServiceError`.

    A library's message may quote the request, the answer or a part of the key, so it is neither sent nor logged.
    """
    try:
        yield
    except ServiceError:
        raise
    except (TimeoutError, openai.APITimeoutError, httpx2.TimeoutException) as error:
        if any(isinstance(cause, httpx2.ConnectTimeout) for cause in _causes(error)):
            # Nobody answers there, or nobody listens: the aiohttp transport calls a refused connection a timeout too.
            logger.warning("{} cannot be reached", model)
            raise ModelUnavailable(_UNREACHABLE) from error
        raise ModelTimeout("The model took too long. Try again, or ask for a shorter answer.") from error
    except openai.APIStatusError as error:
        logger.warning("{} answered {} ({})", model, error.status_code, error.code)
        raise _error_of_status(error) from error
    except (openai.APIConnectionError, httpx2.TransportError) as error:
        cause = error.__cause__ or error
        logger.warning("{}: {}", model, type(cause).__name__)
        raise ModelUnavailable(_UNREACHABLE) from error
    except Exception as error:
        # The client libraries trust an endpoint to send what it should. What it sent instead shows as any exception:
        # a ValueError, a KeyError, aiohttp's RuntimeError("Connection closed.") for a chunk that is none.
        logger.warning("{} sent no answer: {}", model, type(error).__name__)
        logger.opt(exception=error).debug("the cause")
        raise ModelUnavailable(_BROKEN) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__


def _error_of_status(error: openai.APIStatusError) -> ServiceError:
    body = error.body if isinstance(error.body, dict) else {}
    if error.status_code in (400, 413, 422) and {str(body.get("code")), str(body.get("type"))} & _CONTEXT_EXCEEDED:
        return InputTooLongForModel("The request does not fit into the model's context. Make it shorter.")
    if error.status_code == 429:
        return ModelUnavailable("The model endpoint is busy.", retry_after=_retry_after(error.response) or 5)
    if error.status_code >= 500:
        return ModelUnavailable("The model endpoint failed.", retry_after=_retry_after(error.response) or 5)
    # A refused key, an unknown model, a request that this endpoint does not take: for the operator to mend.
    logger.error("the model endpoint refuses this service's calls with {}", error.status_code)
    return ModelUnavailable("The model endpoint refused the call.", retry_after=60)


def _retry_after(response: httpx2.Response) -> int | None:
    value = response.headers.get("retry-after", "")
    return min(int(value), 3600) if value.isascii() and value.isdigit() else None


async def _no_long_waits(response: httpx2.Response) -> None:
    # The openai client sleeps as long as an endpoint asks, up to two minutes, while our own client waits.
    seconds = _retry_after(response)
    if seconds is not None and seconds > _LONGEST_RETRY_AFTER:
        response.headers["x-should-retry"] = "false"
