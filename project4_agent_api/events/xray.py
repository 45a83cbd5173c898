"""The X-ray of runs: a worker's rows are published through Redis, and reach the pages of API processes.

They are not stored: a page that is open shows them, and nothing is left to clean up. An API process keeps those of the
requests that it has served itself. Imported only where `XRAY_ENABLED` is true.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loguru import logger
from pydantic import TypeAdapter
from redis.exceptions import RedisError

from project4_agent_api.core.telemetry.xray import XrayTracing
from project4_agent_api.events.subscriber import Subscriber
from shared.background import background_task
from shared.errors import RedisUnavailable
from shared.redis.client import REDIS_UNAVAILABLE, RedisClient
from shared.xray.access import Xray
from shared.xray.rows import Row

_CHANNEL = "xray"
_BATCH_SECONDS = 0.05  # a killed worker loses the rows of that time
_MAX_PENDING = 1_000
_BACK_OFF_SECONDS = 0.5
_ROWS = TypeAdapter(list[Row])


class XrayOfRuns:
    """The part of runs in the X-ray of a process.

    Attributes:
        tracing: Records stored and executed runs.
    """

    def __init__(self, xray: Xray) -> None:
        self._xray = xray
        self.tracing = XrayTracing(xray.recorder)

    @asynccontextmanager
    async def publishing(self, redis: RedisClient) -> AsyncIterator[None]:
        """Publish the rows of a worker while the block runs."""
        pending: dict[str, Row] = {}
        has_pending = asyncio.Event()
        loop = asyncio.get_running_loop()

        def put(row: Row) -> None:
            if row.span_id in pending or len(pending) < _MAX_PENDING:
                pending[row.span_id] = row
            has_pending.set()

        def put_from_thread(row: Row) -> None:
            loop.call_soon_threadsafe(put, row)

        async def publish() -> None:
            while True:
                await has_pending.wait()
                await asyncio.sleep(_BATCH_SECONDS)
                has_pending.clear()
                rows = list(pending.values())
                pending.clear()
                try:
                    await redis.publish(redis.key(_CHANNEL), _ROWS.dump_json(rows))
                except (*REDIS_UNAVAILABLE, RedisError) as error:
                    logger.debug("{} rows of the X-ray were lost: {}", len(rows), type(error).__name__)

        self._xray.recorder.process = "worker"
        self._xray.recorder.sink = put_from_thread
        async with background_task(publish()):
            yield

    @asynccontextmanager
    async def receiving(self, subscriber: Subscriber) -> AsyncIterator[None]:
        """Keep the rows of workers while the block runs."""

        async def receive() -> None:
            while True:
                try:
                    async with subscriber.subscribe(_CHANNEL) as subscription:
                        while True:
                            for row in _ROWS.validate_json(await subscription.messages.get() or b"[]"):
                                self._xray.buffer.add(row)
                except RedisUnavailable:
                    await asyncio.sleep(_BACK_OFF_SECONDS)

        async with background_task(receive()):
            yield
