"""The embedding model."""

import httpx2
from langchain_core.embeddings import Embeddings

from project3_rag_docs.settings import Settings
from shared.models.embeddings import create_embeddings


def create_embedding_model(settings: Settings, http: httpx2.AsyncClient) -> Embeddings:
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
    )
