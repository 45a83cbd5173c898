"""Waits for what is about to happen somewhere else."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Return when the condition holds; raise `TimeoutError` if it does not come to hold."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  what is waited for lies in another thread or process
            await asyncio.sleep(0.01)
