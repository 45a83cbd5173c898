"""The bytes that the streams of each user's ended runs take in Redis: the oldest streams are deleted beyond a limit.

Each user has a list of ended runs with the sizes of their streams, the newest first, in a list that expires with the
last stream. A run that is executed is bounded by itself, and a user has few of them at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from loguru import logger
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from project4_agent_api.events.ids import run_stream
from shared.redis.client import REDIS_UNAVAILABLE, RedisClient

_MARK = b"exceeding"  # the first item of an answer, by which it is recognized
# Adds a run to the list, and returns the runs whose streams exceed the limit. Expired runs are at the end of the list.
_ADD = """
    local time = tonumber(redis.call('TIME')[1])
    redis.call('LPUSH', KEYS[1], time .. ' ' .. ARGV[2] .. ' ' .. ARGV[1])
    redis.call('EXPIRE', KEYS[1], ARGV[4])
    local total, exceeding, kept = 0, {'exceeding'}, 0
    for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
        local ended, size, run = string.match(entry, '(%d+) (%d+) (.+)')
        if tonumber(ended) + tonumber(ARGV[4]) < time then break end
        total = total + tonumber(size)
        if total > tonumber(ARGV[3]) and kept > 0 then
            table.insert(exceeding, run)
        else
            kept = kept + 1
        end
    end
    redis.call('LTRIM', KEYS[1], 0, kept - 1)
    return exceeding
"""


@dataclass(frozen=True)
class KeptStreams:
    """Deletes the streams that exceed the limit of their user.

    Attributes:
        seconds: How long a stream is kept after its run's end.
        maximum: In bytes, of one user. The newest stream is kept even if it alone is larger.
    """

    redis: RedisClient
    seconds: int
    maximum: int

    def add(self, pipeline: Pipeline, owner_id: UUID, run_id: UUID, size: int) -> None:
        """Add the stream of a run that has ended, in the pipeline that writes its end."""
        key = self.redis.key(f"events:kept:{owner_id}")
        pipeline.eval(_ADD, 1, key, str(run_id), size, self.maximum, self.seconds)

    async def delete_exceeding(self, answers: Iterable[Any]) -> None:
        """Delete the streams that the answers of a pipeline name."""
        run_ids = [
            UUID(run_id.decode())
            for answer in answers
            if isinstance(answer, list) and answer[:1] == [_MARK]
            for run_id in answer[1:]
        ]
        if not run_ids:
            return
        try:
            await self.redis.delete(*(self.redis.key(run_stream(run_id)) for run_id in run_ids))
        except (*REDIS_UNAVAILABLE, RedisError) as error:  # they expire
            logger.warning("events beyond a user's limit could not be deleted: {}", type(error).__name__)
