"""The event loop: many waits at once in one thread."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

Ask = Callable[[str], Awaitable[str]]


async def ask_all(ask: Ask, questions: Sequence[str]) -> list[str]:
    """Ask all questions at the same time, and return the answers in the order of the questions."""
    return await asyncio.gather(*(ask(question) for question in questions))


async def ask_within(ask: Ask, question: str, seconds: float) -> str | None:
    """Return the answer, or None if it takes too long."""
    try:
        async with asyncio.timeout(seconds):
            return await ask(question)
    except TimeoutError:
        return None


async def hash_password(slow_hash: Callable[[str], str], password: str) -> str:
    """Call `slow_hash(password)`, an ordinary function that blocks, without stopping the event loop."""
    return await asyncio.to_thread(slow_hash, password)


if __name__ == "__main__":

    async def ask(question: str) -> str:
        await asyncio.sleep(1)
        return question.upper()

    print(asyncio.run(ask_all(ask, ["a", "b", "c"])))
