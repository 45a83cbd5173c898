"""Embedding models behind an OpenAI-compatible endpoint."""

import asyncio
from typing import Any

import httpx2
from langchain_core.embeddings import Embeddings
from langchain_openai import OpenAIEmbeddings
from loguru import logger
from pydantic import SecretStr

from shared.errors import ModelUnavailable
from shared.models.errors import endpoint_errors
from shared.settings import Settings


def create_embeddings(
    settings: Settings, http: httpx2.AsyncClient, *, model: str, base_url: str, api_key: SecretStr, dimensions: int
) -> Embeddings:
    """Create an embedding model.

    Args:
        settings: Time limit and retries.
        http: From `shared.models.client.create_http_client`.
        model: Name of the model.
        base_url: Address of its endpoint, which may differ from the chat model's.
        api_key: Empty if the endpoint needs none.
        dimensions: Length of the vectors.

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
        # LangChain's length check downloads a tokenizer, and sends token ids that only OpenAI's models understand.
        check_embedding_ctx_length=False,
        time_limit=settings.llm_timeout_seconds,
        vector_length=dimensions,
    )


class EndpointEmbeddings(OpenAIEmbeddings):
    """`OpenAIEmbeddings` with a time limit and the service's errors.

    Attributes:
        time_limit: Seconds for one call of the endpoint, retries included.
        vector_length: Expected length of a vector. Others are rejected.
    """

    time_limit: float
    vector_length: int

    async def aembed_documents(
        self, texts: list[str], chunk_size: int | None = None, **kwargs: Any
    ) -> list[list[float]]:
        """Embed texts unchanged; the caller adds the prefixes that a model requires."""
        with endpoint_errors(self.model):
            async with asyncio.timeout(self.time_limit):
                vectors = await super().aembed_documents(texts, chunk_size, **kwargs)
            if wrong := {len(vector) for vector in vectors} - {self.vector_length}:
                logger.error("{} returns vectors of length {}; {} expected", self.model, wrong, self.vector_length)
                detail = f"The embedding model returns vectors of length {min(wrong)}; {self.vector_length} expected."
                raise ModelUnavailable(detail, retry_after=60)
            return vectors
