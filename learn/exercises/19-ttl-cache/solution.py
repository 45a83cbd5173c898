"""A cache whose entries expire, and that loads each missing entry once."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable


class Cache:
    """Keeps values for some seconds.

    Args:
        load: A coroutine function that returns the value of a key.
        clock: Returns the time in seconds.
    """

    def __init__(self, load: Callable[[str], Awaitable[str]], seconds: float, clock: Callable[[], float]) -> None:
        self.load = load
        self.seconds = seconds
        self.clock = clock
        self.entries: dict[str, tuple[float, str]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, key: str) -> str:
        """Return a value: the cached one if it is younger than `seconds`, otherwise load and cache it."""
        async with self._locks[key]:
            stored, value = self.entries.get(key, (float("-inf"), ""))
            if self.clock() - stored >= self.seconds:
                value = await self.load(key)
                self.entries[key] = (self.clock(), value)
            return value

    def forget(self, key: str) -> None:
        """Remove a key, because its value has changed."""
        self.entries.pop(key, None)
