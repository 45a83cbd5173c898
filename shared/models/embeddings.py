"""Embedding models behind an OpenAI-compatible endpoint."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
import openai
from langchain_openai import OpenAIEmbeddings
from loguru import logger
from pydantic import PrivateAttr, SecretStr

from shared.errors import ModelMisconfigured
from shared.models.errors import endpoint_errors
from shared.models.refusals import refusal_in
from shared.models.signs import Kind
from shared.models.vectors import Incomplete, UntypedEmbeddings, mean, shorten
from shared.settings import Settings

_MAX_BATCH = 2048
_MAX_HALVINGS = 5  # of a text that is too long
# In front of a cut, the best first: the end of a sentence, of a word.
_BOUNDARIES = (re.compile(r"\n+|[.!?;] +|[。！？；]"), re.compile(r" +|[，、]"))


def create_embeddings(
    settings: Settings,
    http: httpx2.AsyncClient,
    *,
    model: str,
    base_url: str,
    api_key: SecretStr,
    dimensions: int,
    matryoshka: bool | None = False,
    prefixes: Sequence[str] = (),
    extra_body: Mapping[str, Any] | None = None,
) -> "EndpointEmbeddings":
    """Create an embedding model.

    Args:
        settings: Time limit and retries.
        http: From `shared.models.client.create_http_client`.
        model: Name of the model.
        base_url: Address of its endpoint, which may differ from the chat model's.
        api_key: Empty if the endpoint needs none.
        dimensions: Length of the vectors.
        matryoshka: Whether longer vectors may be shortened; None: by the endpoint only.
        prefixes: Prefixes that callers put before texts; each part of a text that is split gets its prefix.
        extra_body: Fields of every request; None removes one.

    Returns:
        LangChain's interface: texts in, one vector each out. Its asynchronous methods raise the `MODEL_ERRORS` of
        `shared.errors`. A text that is too long is split, and gets the mean of its parts' vectors.
    """
    client = openai.AsyncOpenAI(
        base_url=base_url,
        api_key=api_key.get_secret_value() or "none",  # local servers need no key, the client does
        max_retries=settings.llm_max_retries,
        http_client=http,
    )
    return EndpointEmbeddings(
        model=model,
        openai_api_key=SecretStr(client.api_key),
        async_client=UntypedEmbeddings(client, extra_body),
        # LangChain's length check downloads a tokenizer, and sends token ids that only OpenAI's models understand.
        check_embedding_ctx_length=False,
        time_limit=settings.llm_timeout_seconds,
        vector_length=dimensions,
        matryoshka=matryoshka,
        prefixes=tuple(prefixes),
    )


class WrongVectorLength(ModelMisconfigured):
    """The vectors of the embedding model do not fit into the index.

    Args:
        model: Name of the model.
        length: Length of its vectors.
        expected: Length of those in the index.
    """

    def __init__(self, model: str, length: int, expected: int) -> None:
        super().__init__(f"{model} returns vectors of length {length}; {expected} expected.", restart=True)
        self.length = length


class EndpointEmbeddings(OpenAIEmbeddings):
    """`OpenAIEmbeddings` with a time limit, the service's errors, and the endpoint's limits learned from its refusals.

    Attributes:
        time_limit: Seconds for one call of the endpoint, retries included.
        vector_length: Expected length of a vector. Others are rejected.
        matryoshka: Whether longer vectors may be shortened, which most models' do not allow; None: by the endpoint,
            which knows its models.
        prefixes: Prefixes that a model expects before texts.
    """

    time_limit: float
    vector_length: int
    matryoshka: bool | None
    prefixes: tuple[str, ...]
    _max_batch: int = PrivateAttr(default=_MAX_BATCH)

    async def aembed_documents(
        self, texts: list[str], chunk_size: int | None = None, **kwargs: Any
    ) -> list[list[float]]:
        """Embed texts unchanged; the caller adds the prefixes that a model requires."""
        del chunk_size, kwargs
        try:
            with endpoint_errors(self.model):
                return await self._embed(texts)
        except WrongVectorLength as error:
            logger.error(error.detail)
            raise

    async def check_length(self) -> None:
        """Embed a word to see whether the vectors fit.

        Raises:
            WrongVectorLength: if they do not.
            ServiceError: as for any call.
        """
        with endpoint_errors(self.model):
            await self._embed(["dimensions"])

    async def _embed(self, texts: list[str], halvings: int = 0) -> list[list[float]]:
        vectors: list[list[float]] = []
        while batch := texts[len(vectors) : len(vectors) + self._max_batch]:
            vectors += await self._embed_batch(batch, halvings)
        return vectors

    async def _embed_batch(self, batch: list[str], halvings: int) -> list[list[float]]:
        try:
            return await self._fitting_vectors(batch)
        except Incomplete:
            if len(batch) == 1:
                raise
        except openai.APIError as error:
            refusal = refusal_in(error)
            if refusal.kind not in (Kind.TOO_LONG, Kind.BATCH_TOO_LARGE):
                raise
            if len(batch) == 1:
                if (parts := self._halves(batch[0], halvings)) is None:
                    raise
                return [mean(await self._embed(parts, halvings + 1), [len(part) for part in parts])]
            if refusal.limit and refusal.limit < len(batch):
                logger.warning("{} takes at most {} texts in a call", self.model, refusal.limit)
                self._max_batch = min(refusal.limit, self._max_batch)
        half = len(batch) // 2
        return await self._embed(batch[:half], halvings) + await self._embed(batch[half:], halvings)

    async def _fitting_vectors(self, batch: list[str]) -> list[list[float]]:
        asked = self.dimensions is not None  # before the call: a concurrent one may set it meanwhile
        vectors = await self._call(batch)
        longest = max(map(len, vectors))
        if longest > self.vector_length and self.matryoshka is not False and not asked:
            self.dimensions = self.vector_length
            vectors = await self._call(batch)
            if len(vectors[0]) == self.vector_length:
                logger.warning("{} shortens its vectors from {} to {}", self.model, longest, self.vector_length)
        if self.matryoshka:
            vectors = [shorten(vector, self.vector_length) for vector in vectors]
        if wrong := {len(vector) for vector in vectors} - {self.vector_length}:
            raise WrongVectorLength(self.model, min(wrong), self.vector_length)
        return vectors

    async def _call(self, batch: list[str]) -> list[list[float]]:
        async with asyncio.timeout(self.time_limit):
            return await super().aembed_documents(batch, len(batch))

    def _halves(self, text: str, halvings: int) -> list[str] | None:
        """Return a text in two parts, cut where a sentence or a word ends; None if it is too short for that."""
        prefix = next((prefix for prefix in self.prefixes if prefix and text.startswith(prefix)), "")
        content = text.removeprefix(prefix)
        if len(content) < 2 or halvings >= _MAX_HALVINGS:
            return None
        middle = len(content) // 2
        near = slice(len(content) // 4, 3 * len(content) // 4)
        cuts: list[int] = []
        for boundary in _BOUNDARIES:
            if cuts := [near.start + match.end() for match in boundary.finditer(content[near])]:
                break
        cut = min(cuts, key=lambda place: abs(place - middle), default=middle)
        if not halvings:
            logger.info("{}: a text of {} characters is too long and split", self.model, len(content))
        return [prefix + content[:cut], prefix + content[cut:]]
