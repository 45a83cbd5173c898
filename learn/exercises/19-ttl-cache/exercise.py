"""A cache whose entries expire, and that loads each missing entry once."""

import asyncio  # noqa: F401  you may need it


class Cache:
    """Keeps values for some seconds.

    Args:
        load: A coroutine function that returns the value of a key.
        clock: Returns the time in seconds.
    """

    def __init__(self, load, seconds, clock):
        self.load = load
        self.seconds = seconds
        self.clock = clock
        self.entries = {}

    async def get(self, key):
        """Return a value: the cached one if it is younger than `seconds`, otherwise load and cache it."""
        # TODO: An error of `load` is raised and not cached. If several ask for a missing key at the same time, it is loaded
        #       once.
        #       load 的错误要抛出，不缓存。几个调用同时要同一个缺失的键，只加载一次。
        return await self.load(key)

    def forget(self, key):
        """Remove a key, because its value has changed."""
        # TODO: Removing an unknown key is no error.
        #       删除不存在的键不算错误。
