"""Waits for a condition in another thread or process."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Return when the condition holds; raise `TimeoutError` if it does not come to hold."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the condition lies in another thread or process
            await asyncio.sleep(0.01)
