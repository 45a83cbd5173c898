"""The last exchanges of each owner in Redis: every API process shows its caller the same."""

from uuid import UUID

from loguru import logger

from project1_qa_api.schemas import Exchange
from shared.redis.client import REDIS_ERRORS, RedisClient, redis_errors

_KEPT_SECONDS = 90 * 24 * 3600  # after the last question


class RedisHistory:
    """Stage 1's `History`, in Redis.

    Args:
        client: Of Redis.
        size: Exchanges kept for each owner.
    """

    def __init__(self, client: RedisClient, size: int) -> None:
        self._client = client
        self._size = size

    async def add(self, owner_id: UUID, exchange: Exchange) -> None:
        """Keep an exchange, in place of the oldest one if there are too many. Lost where Redis is away, or full."""
        key = self._key(owner_id)
        try:
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.lpush(key, exchange.model_dump_json())
                pipeline.ltrim(key, 0, self._size - 1)
                pipeline.expire(key, _KEPT_SECONDS)
                await pipeline.execute()
        except REDIS_ERRORS as error:
            # The answer is out already, and its client cannot be told any more.
            logger.warning("an exchange is not in the history: {}", type(error).__name__)

    async def recent(self, owner_id: UUID) -> list[Exchange]:
        """Return the owner's exchanges, newest first.

        Raises:
            RedisUnavailable: if Redis is away.
        """
        with redis_errors():
            kept = await self._client.lrange(self._key(owner_id), 0, self._size - 1)
        return [Exchange.model_validate_json(one) for one in kept]

    async def delete(self, owner_id: UUID) -> None:
        """Keep nothing of an owner's.

        Raises:
            RedisUnavailable: if Redis is away.
        """
        with redis_errors():
            await self._client.delete(self._key(owner_id))

    def _key(self, owner_id: UUID) -> str:
        return self._client.key(f"history:{owner_id}")
