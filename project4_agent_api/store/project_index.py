"""The `store` key of a project: its own embeddings, the fields that are embedded, and times to live."""

import inspect
from dataclasses import dataclass
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import TTLConfig, ensure_embeddings
from loguru import logger

from project3_rag_docs.settings import Settings
from project4_agent_api.graphs import langgraph_json, project_file
from project4_agent_api.graphs.langgraph_json import Project
from project4_agent_api.graphs.project_file import IndexPart
from project4_agent_api.settings import Settings as Stage4Settings
from shared.errors import ConfigurationError, ModelUnavailable

_RETRY_SECONDS = 5
# LangGraph's default: reading an item renews its time to live.
DEFAULT_TTL: TTLConfig = {"refresh_on_read": True, "omit_expired": True}


@dataclass(frozen=True)
class StoreOptions:
    """The options of a project's store.

    Attributes:
        embeddings: The project's own; None for the service's model.
        fields: Paths of the fields that are embedded if an item does not say; None for the whole item.
        ttl: The default times to live.
    """

    embeddings: Embeddings | None = None
    fields: list[str] | None = None
    ttl: TTLConfig | None = None

    @classmethod
    def load(cls, project: Project) -> "StoreOptions":
        """Import the project's embeddings, and read the other options.

        Raises:
            ConfigurationError: with one line that names the fault.
        """
        part = project.file.store
        ttl: TTLConfig | None = None
        if part.ttl:
            ttl = {**DEFAULT_TTL, "refresh_on_read": part.ttl.refresh_on_read, "default_ttl": part.ttl.default_ttl}
        if part.index is None:
            return cls(ttl=ttl)
        return cls(_embeddings(project, part.index), part.index.fields, ttl)


NO_OPTIONS = StoreOptions()


def store_settings(settings: Stage4Settings) -> Settings:
    """Return the settings of the store's vectors: the project's model and dimensions, if it has its own.

    Raises:
        ConfigurationError: if the `langgraph.json` is refused.
    """
    path = langgraph_json.find(settings.langgraph_config)
    index = project_file.parse(path).store.index if path else None
    if index is None:
        return settings
    return settings.model_copy(
        update={
            "embedding_model": index.embed,
            "embedding_dimensions": index.dims,
            "embedding_query_prefix": "",
            "embedding_passage_prefix": "",
        }
    )


def _embeddings(project: Project, index: IndexPart) -> Embeddings:
    source: Any = index.embed
    if ".py:" in index.embed:
        source = project.import_object("store.index.embed", index.embed, suggest=(Embeddings,))
        if not isinstance(source, Embeddings) and not callable(source):
            raise ConfigurationError(
                f"{project.path}: store.index.embed: {index.embed} is neither a function nor a model"
            )
        if inspect.isclass(source) and issubclass(source, Embeddings):
            source = source()
    try:
        model = source if isinstance(source, Embeddings) else ensure_embeddings(source)
    except Exception as error:  # noqa: BLE001  a team's class, or a provider's package, may raise anything
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ConfigurationError(f"{project.path}: store.index.embed: {index.embed} is not available: {line}") from None
    return _ProjectEmbeddings(model, index.dims)


class _ProjectEmbeddings(Embeddings):
    """A project's embeddings, whose errors are those of a model."""

    def __init__(self, model: Embeddings, dims: int) -> None:
        self._model = model
        self._dims = dims

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts."""
        return self._model.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """Embed a text."""
        return self._model.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts.

        Raises:
            ModelUnavailable: if the project's code fails, or returns vectors of another size.
        """
        try:
            vectors = await self._model.aembed_documents(texts)
        except Exception as error:
            logger.opt(exception=error).error("the project's embeddings failed: {}", type(error).__name__)
            raise ModelUnavailable("The project's embeddings failed.", retry_after=_RETRY_SECONDS) from error
        if len(vectors) != len(texts) or any(len(vector) != self._dims for vector in vectors):
            logger.error("the project's embeddings returned other vectors than store.index.dims says")
            raise ModelUnavailable("The project's embeddings are misconfigured.", retry_after=_RETRY_SECONDS)
        return [[float(number) for number in vector] for vector in vectors]

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a text. Raises what `aembed_documents` raises."""
        (vector,) = await self.aembed_documents([text])
        return vector
