"""Chat models behind an OpenAI-compatible endpoint, as LangChain Runnables."""

from collections.abc import Sequence
from typing import TypeVar

import httpx2
import openai
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable

from shared.errors import InputKindNotSupported, ModelTimeout, ModelUnavailable
from shared.models.completions import UntypedCompletions
from shared.models.endpoint import EndpointChatModel
from shared.settings import Settings

ChatModel = Runnable[LanguageModelInput, AIMessage]
Output = TypeVar("Output")
FALLBACK_ERRORS = (
    ModelUnavailable,
    ModelTimeout,
    InputKindNotSupported,
)  # those that another model of the endpoint may not have


def create_chat_model(settings: Settings, http: httpx2.AsyncClient) -> ChatModel:
    """Create the configured chat model with its fallbacks.

    Args:
        settings: Endpoint, models, time limit and retries.
        http: From `shared.models.client.create_http_client`.

    Returns:
        A Runnable: messages in, an `AIMessage` out; `astream` yields its chunks. Both raise `ModelUnavailable`,
        `ModelKeyRefused`, `ModelTimeout`, `InputTooLongForModel` or `InputFilteredByModel`. A stream falls back only
        until its first chunk.
    """
    return with_fallbacks(create_chat_models(settings, http))


def create_chat_models(settings: Settings, http: httpx2.AsyncClient) -> list[EndpointChatModel]:
    """Create the configured chat models: the primary one, then its fallbacks in order."""
    client = openai.AsyncOpenAI(
        base_url=settings.openai_base_url,
        api_key=settings.openai_api_key.get_secret_value() or "none",  # local servers need no key, the client does
        max_retries=settings.llm_max_retries,
        http_client=http,
    )
    completions = UntypedCompletions(client, settings.llm_extra_body, settings.llm_model_options)
    return [
        EndpointChatModel(
            model=name,
            api_key=client.api_key,
            root_async_client=client,
            async_client=completions,
            stream_usage=True,  # LangChain's default only for OpenAI's own endpoint
            use_responses_api=False,
            stream_chunk_timeout=None,
            time_limit=settings.llm_timeout_seconds,
        )
        for name in (settings.llm_model, *settings.llm_fallback_models)
    ]


def with_fallbacks(models: Sequence[Runnable[LanguageModelInput, Output]]) -> Runnable[LanguageModelInput, Output]:
    """Combine models: each is called if those before it are unavailable, refuse its parameters, or time out.

    Not if the input is too long or filtered, or the key is refused: the models share an endpoint, its filter and its
    key, and an input that one model cannot take is the client's to shorten.
    """
    first, *others = models
    if not others:
        return first
    return first.with_fallbacks(others, exceptions_to_handle=FALLBACK_ERRORS)
