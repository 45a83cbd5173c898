"""The bytes that the streams of each user's ended runs take in Redis: the oldest streams are deleted beyond a limit.

Each user has a list of ended runs, the newest first, which expires with the last stream. An entry has the size of the
run's stream and the total of all sizes up to and including it, so the bytes between two entries are known without
reading those in between: an end costs the same however many runs are kept. A run that is executed is bounded by itself,
and a user has few of them at once.
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
# Adds a run to the list, and removes from its end the runs that have expired or exceed the limit. Returns the latter.
_ADD = """
    local run, size, maximum, seconds = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
    local function read(index)
        return string.match(redis.call('LINDEX', KEYS[1], index) or '0 0 0', '(%d+) (%d+) (%d+) ?(.*)')
    end
    local now = tonumber(redis.call('TIME')[1])
    local _, _, total = read(0)
    total = total + size
    redis.call('LPUSH', KEYS[1], string.format('%d %d %d %s', now, size, total, run))
    redis.call('EXPIRE', KEYS[1], seconds)
    local exceeding = {'exceeding'}
    while true do
        local ended, oldest_size, oldest_total, oldest = read(-1)
        local expired, kept = ended + seconds < now, total - oldest_total + oldest_size
        if oldest == run or not (expired or kept > maximum) then
            return exceeding
        end
        redis.call('RPOP', KEYS[1])
        if not expired then
            table.insert(exceeding, oldest)
        end
    end
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
        key = self.redis.key(f"events:ended:{owner_id}")
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
