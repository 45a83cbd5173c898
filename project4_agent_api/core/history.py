"""The recent exchanges of each owner, in Redis, so that all API processes share them."""

from uuid import UUID

from loguru import logger

from project1_qa_api.schemas import Exchange
from shared.redis.client import REDIS_ERRORS, RedisClient, redis_errors

_EXPIRY_SECONDS = 90 * 24 * 3600  # after the last question


class RedisHistory:
    """Stage 1's `History` in Redis. It stores `size` exchanges for each owner."""

    def __init__(self, client: RedisClient, size: int) -> None:
        self._client = client
        self._size = size

    async def add(self, owner_id: UUID, exchange: Exchange) -> None:
        """Store an exchange, and remove the oldest beyond `size`. If Redis is unavailable or full, it is lost."""
        key = self._key(owner_id)
        try:
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.lpush(key, exchange.model_dump_json())
                pipeline.ltrim(key, 0, self._size - 1)
                pipeline.expire(key, _EXPIRY_SECONDS)
                await pipeline.execute()
        except REDIS_ERRORS as error:
            # The response was sent already, so the client cannot get an error.
            logger.warning("Redis unavailable ({}); an exchange is missing in the history", type(error).__name__)

    async def recent(self, owner_id: UUID) -> list[Exchange]:
        """Return the owner's exchanges, newest first.

        Raises:
            RedisUnavailable: if Redis is unavailable.
        """
        with redis_errors():
            stored = await self._client.lrange(self._key(owner_id), 0, self._size - 1)
        return [Exchange.model_validate_json(exchange) for exchange in stored]

    async def delete(self, owner_id: UUID) -> None:
        """Delete an owner's exchanges.

        Raises:
            RedisUnavailable: if Redis is unavailable.
        """
        with redis_errors():
            await self._client.delete(self._key(owner_id))

    def _key(self, owner_id: UUID) -> str:
        return self._client.key(f"history:{owner_id}")
