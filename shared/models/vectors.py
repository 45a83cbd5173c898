"""Vectors from an OpenAI-compatible endpoint, in any order and encoding."""

import base64
import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from operator import mul
from typing import Any

import openai

from shared.models.parameters import ParameterAdapter
from shared.models.refusals import error_in, is_error


class Incomplete(Exception):
    """The endpoint returned another number of vectors than it received texts."""


class UntypedEmbeddings:
    """A replacement for `client.embeddings` for endpoints that are not OpenAI's.

    Args:
        extra: Fields of every request; None removes one.
    """

    def __init__(self, client: openai.AsyncOpenAI, extra: Mapping[str, Any] | None = None) -> None:
        self._client = client
        self._adapter = ParameterAdapter(extra or {})
        # Base64 is a quarter of the size of numbers as text. Endpoints that ignore it send numbers.
        self._encoding = {"encoding_format": "base64"}

    async def create(self, *, input: list[str], **fields: Any) -> dict[str, Any]:  # noqa: A002  the client's name
        """Embed texts.

        Returns:
            `data`, with an item for each text, in their order; the `embedding` of an item is a list of numbers.

        Raises:
            openai.APIError: with the classified `refusal`.
            Incomplete: if vectors are missing.
            ValueError: if one is no list of finite numbers.
        """
        body = fields | {"input": input}
        response = await self._adapter.call(self._encoding | body, self._send)
        if self._encoding and not _has_vectors(response):  # OpenRouter, for models that have no base64
            response = await self._adapter.call(body, self._send)
            if _has_vectors(response):
                self._encoding = {}
        items = _in_order(response["data"], len(input))
        return {"data": [{"embedding": _numbers(item["embedding"])} for item in items]}

    async def _send(self, body: dict[str, Any]) -> Any:  # noqa: ANN401  JSON
        response: Any = await self._client.post("/embeddings", cast_to=object, body=body)
        if is_error(response):
            raise error_in(response, self._client)
        return response


def _has_vectors(response: Any) -> bool:  # noqa: ANN401  JSON
    items = response.get("data") if isinstance(response, dict) else None
    return isinstance(items, list) and any(isinstance(item, dict) and item.get("embedding") for item in items)


def _in_order(items: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    if len(items) != count:
        raise Incomplete(f"{len(items)} vectors for {count} texts")
    # Some servers number no item, or each with 0: then the order is that of the texts.
    if {item.get("index") for item in items} == set(range(count)):
        return sorted(items, key=lambda item: item["index"])
    return items


def _numbers(embedding: object) -> list[float]:
    if isinstance(embedding, str):
        numbers = array("f", base64.b64decode(embedding, validate=True))
        if sys.byteorder == "big":
            numbers.byteswap()
        vector = numbers.tolist()
    else:
        vector = [float(number) for number in embedding]  # type: ignore[attr-defined]  # a TypeError otherwise
    if not vector or not math.isfinite(sum(vector)):
        raise ValueError("no finite numbers")
    return vector


def mean(vectors: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    """Return the weighted mean of vectors, with length 1."""
    return _unit([sum(map(mul, column, weights)) for column in zip(*vectors, strict=True)])


def shorten(vector: list[float], dimensions: int) -> list[float]:
    """Return the first numbers of a vector, with length 1 if some are left out."""
    return vector if len(vector) <= dimensions else _unit(vector[:dimensions])


def _unit(vector: list[float]) -> list[float]:
    length = math.hypot(*vector)
    return [number / length for number in vector] if length else vector
