"""The embedding model."""

import asyncio

import httpx2

from project3_rag_docs.settings import Settings
from shared.errors import ConfigurationError, ServiceError
from shared.models.client import create_http_client
from shared.models.embeddings import EndpointEmbeddings, WrongVectorLength, create_embeddings

_CHECK_SECONDS = 5.0


def create_embedding_model(settings: Settings, http: httpx2.AsyncClient) -> EndpointEmbeddings:
    """Create the client of the embedding model in the settings."""
    base_url, api_key = settings.openai_base_url, settings.openai_api_key
    if settings.embedding_base_url:
        base_url, api_key = settings.embedding_base_url, settings.embedding_api_key
    return create_embeddings(
        settings,
        http,
        model=settings.embedding_model,
        base_url=base_url,
        api_key=api_key,
        dimensions=settings.embedding_dimensions,
        matryoshka=settings.may_shorten_vectors(),
        prefixes=(settings.passage_prefix(), settings.query_prefix()),
        extra_body=settings.embedding_extra_body,
    )


async def check_embedding_model(settings: Settings) -> None:
    """Refuse to start with an embedding model whose vectors do not fit. An unavailable one does not delay the start.

    Raises:
        ConfigurationError: with one line that explains what to do.
    """
    try:
        async with create_http_client(settings) as http, asyncio.timeout(_CHECK_SECONDS):
            await create_embedding_model(settings, http).check_length()
    except WrongVectorLength as error:
        raise ConfigurationError(
            f"{error.detail} Set EMBEDDING_DIMENSIONS={error.length}, and run the command `reindex` if there are "
            "documents; or to a smaller number (the index takes at most 4,000) if the endpoint can shorten its vectors"
        ) from None
    except (ServiceError, TimeoutError):
        return  # every call checks again
