"""Async generators: values that arrive over time, as the tokens of a model do."""


async def non_empty(tokens):
    """Pass the tokens on as they arrive, without those that are empty."""
    # TODO: Iterate with `async for`, and yield.
    #       用 async for 遍历，逐个 yield。
    for token in ():
        yield token


async def collect(tokens):
    """Return the whole text of the tokens."""
    # TODO: Write the function.
    #       写出这个函数。
    return tokens


async def first_sentence(tokens):
    """Return the text up to the first token that ends with a full stop, and close the generator at once."""
    # TODO: Leave the loop early, and make sure that `tokens.aclose()` is awaited even if the loop fails.
    #       提前离开循环，并保证即使出错也会 await tokens.aclose()。
    return await collect(tokens)
