"""A cache in Redis that several processes share: with a lifetime, invalidation, and without depending on Redis."""

import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError


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
        key = f"profile:{user}"
        try:
            cached = await self.redis.get(key)
        except RedisError:
            return await self.load(user)
        if cached is not None:
            profile: dict[str, Any] = json.loads(cached)
            return profile
        profile = await self.load(user)
        with suppress(RedisError):  # the profile is right nevertheless
            await self.redis.set(key, json.dumps(profile), ex=self.seconds + random.randint(0, self.seconds // 10))
        return profile

    async def update(self, user: str, save: Callable[[], Awaitable[None]]) -> None:
        """Save a change in the database, and then remove the cached profile, whose lifetime bounds a failure of it.

        A change that cannot be saved raises its error.
        """
        await save()
        with suppress(RedisError):
            await self.redis.delete(f"profile:{user}")
