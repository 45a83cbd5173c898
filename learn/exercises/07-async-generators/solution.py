"""Async generators: values that arrive over time, as the tokens of a model do."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing


async def non_empty(tokens: AsyncIterable[str]) -> AsyncIterator[str]:
    """Pass the tokens on as they arrive, without those that are empty."""
    async for token in tokens:
        if token:
            yield token


async def collect(tokens: AsyncIterable[str]) -> str:
    """Return the whole text of the tokens."""
    return "".join([token async for token in tokens])


async def first_sentence(tokens: AsyncGenerator[str]) -> str:
    """Return the text up to the first token that ends with a full stop, and close the generator at once."""
    text = ""
    async with aclosing(tokens):
        async for token in tokens:
            text += token
            if token.endswith("."):
                break
    return text
