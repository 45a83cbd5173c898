"""The embedding model."""

import httpx2
from langchain_core.embeddings import Embeddings

from project3_rag_docs.settings import Settings
from shared.models.chat import create_embeddings


def embedding_model(settings: Settings, http: httpx2.AsyncClient) -> Embeddings:
    """Make the model that the settings name.

    Args:
        settings: The stage's.
        http: From `shared.models.chat.create_http_client`.
    """
    base_url, api_key = settings.openai_base_url, settings.openai_api_key
    if settings.embedding_base_url:
        base_url, api_key = settings.embedding_base_url, settings.embedding_api_key
    return create_embeddings(
        settings,
        http,
        model=settings.embedding_model,
        base_url=base_url,
        api_key=api_key,
        length=settings.embedding_dimensions,
    )
