"""A cache in Redis that several processes share: with a lifetime, invalidation, and without depending on Redis."""

import json  # noqa: F401  you need it
import random  # noqa: F401  you need it
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError  # noqa: F401  you need it


class ProfileCache:
    """Keeps the profiles of users, as JSON, under `profile:USER`.

    Args:
        load: Returns the profile of a user from the database.
        seconds: The lifetime of an entry.
    """

    def __init__(self, redis: "Redis", load: Callable[[str], Awaitable[dict[str, Any]]], seconds: int) -> None:
        self.redis = redis
        self.load = load
        self.seconds = seconds

    async def get(self, user: str) -> dict[str, Any]:
        """Return a profile: the cached one, or else that of the database, which is then cached.

        The lifetime is up to a tenth longer, at random. If Redis fails, the profile comes from the database.
        """
        # TODO: GET; on a miss load and SET with EX. An error of Redis must not become an error of the caller, one of
        #       the database must, and is not cached.
        #       先 GET；没有就加载，再用带 EX 的 SET 存入。Redis 出错不能变成调用者的错误；数据库的错误要抛出，也不缓存。
        return await self.load(user)

    async def update(self, user: str, save: Callable[[], Awaitable[None]]) -> None:
        """Save a change in the database, and then remove the cached profile, whose lifetime bounds a failure of it.

        A change that cannot be saved raises its error.
        """
        # TODO: mind the order: what would a reader between the two steps put into the cache?
        #       注意顺序：如果有人恰好在两步之间读取，会把什么放进缓存？
        await save()
