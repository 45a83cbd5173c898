"""Telling others that a run is over: by POST, to the address that the run names.

What is to be told is stored in the transaction in which the run ends, so it survives the worker, the run and the
thread. A job of any worker tells it, again after a while where that fails. It may be told twice: where a worker dies
between telling it and noting that.

The address may carry a secret, and what is told is the owner's: neither is ever logged.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import httpcore2
import httpx2
from loguru import logger
from procrastinate import App, JobContext
from psycopg.types.json import Jsonb

from project4_agent_api.core.outbound.addresses import NotPublic, PublicAddresses, Unresolvable, resolve
from project4_agent_api.core.outbound.requests import UNREACHABLE, request
from project4_agent_api.core.postgres import Connection, Pool, Row, connected
from project4_agent_api.core.serialization import dumps
from project4_agent_api.core.telemetry.metrics import CALLED, CALLED_LATER, GIVEN_UP, Metrics
from project4_agent_api.settings import Settings
from shared.errors import DatabaseUnavailable
from shared.jobs.queue import TryAgain, defer

QUEUE = "webhooks"
CONCURRENCY = 20  # calls at once; nearly all of the time they wait for somebody else's server
_BACK_OFF = 5  # seconds to this power: 1 s, 5 s, 25 s, about 2 min, 10 min, 52 min
_DATABASE_SECONDS = 10.0
_HEADERS = [
    (b"User-Agent", b"agent-api-webhook"),
    (b"Accept", b"*/*"),
    (b"Content-Type", b"application/json"),
]


@dataclass(frozen=True)
class Webhooks:
    """Stores what is to be told.

    Attributes:
        jobs: The engine that has it told.
    """

    jobs: App

    async def store(self, connection: Connection, run_ids: Sequence[UUID]) -> None:
        """Have it told that runs are over, where they want that.

        Args:
            connection: In the transaction in which they end.
            run_ids: Which ones; their rows and those of their threads say how they ended.
        """
        cursor = await connection.execute(
            """
            SELECT runs.run_id, runs.thread_id, runs.assistant_id, runs.created_at, runs.updated_at, runs.status,
                runs.metadata, runs.kwargs, runs.multitask_strategy, runs.started_at AS run_started_at,
                runs.updated_at AS run_ended_at, threads.values, runs.error, runs.owner_id
            FROM runs JOIN threads USING (thread_id)
            WHERE run_id = ANY(%s) AND jsonb_typeof(kwargs -> 'webhook') = 'string'
            """,
            [list(run_ids)],
        )
        for row in await cursor.fetchall():
            owner_id = row.pop("owner_id")
            if row["error"] is None:
                del row["error"]
            await connection.execute(
                "INSERT INTO webhooks (run_id, owner_id, url, body, created_at) VALUES (%s, %s, %s, %s, now())",
                [row["run_id"], owner_id, row["kwargs"]["webhook"], Jsonb(row)],
            )
            run_id = str(row["run_id"])
            await defer(self.jobs, connection, "call_webhook", lock=f"webhook {run_id}", run_id=run_id)


@dataclass(frozen=True)
class WebhookCaller:
    """Tells what is stored.

    Attributes:
        pool: Of the database.
        network: Opens connections, to where they may go.
        seconds: How long one call may take.
        attempts: How often it is tried.
        metrics: Where calls are counted.
    """

    pool: Pool
    network: httpcore2.AsyncNetworkBackend
    seconds: float
    attempts: int
    metrics: Metrics

    @classmethod
    def of(cls, settings: Settings, pool: Pool, metrics: Metrics) -> "WebhookCaller":
        """Make one that goes where the settings allow."""
        network: httpcore2.AsyncNetworkBackend = httpcore2.AnyIOBackend()
        if not settings.webhook_allow_private:
            network = PublicAddresses(resolve, network)
        return cls(pool, network, settings.webhook_timeout_seconds, settings.webhook_attempts, metrics)

    async def call(self, run_id: UUID, earlier: int) -> None:
        """Tell that a run is over.

        Args:
            run_id: Which one.
            earlier: How often that was tried before.

        Raises:
            TryAgain: if it could not be told, and there are attempts left.
        """
        try:
            async with connected(self.pool) as connection:
                cursor = await connection.execute(
                    "SELECT url, body, now() AS sent_at FROM webhooks WHERE run_id = %s", [run_id]
                )
                row = await cursor.fetchone()
            if row is None:
                return
            try:
                failure = await self._post(row)
            except NotPublic:
                failure, earlier = "its address is not a public one", self.attempts
            if failure and earlier + 1 < self.attempts:
                logger.warning("the webhook of run {} is called again later: {}", run_id, failure)
                self.metrics.webhooks.labels(CALLED_LATER).inc()
                raise TryAgain(_BACK_OFF**earlier)
            async with connected(self.pool) as connection:
                await connection.execute("DELETE FROM webhooks WHERE run_id = %s", [run_id])
        except DatabaseUnavailable:
            raise TryAgain(_DATABASE_SECONDS) from None
        self.metrics.webhooks.labels(GIVEN_UP if failure else CALLED).inc()
        if failure:
            logger.error("the webhook of run {} is given up: {}", run_id, failure)
        else:
            logger.info("the webhook of run {} was called", run_id)

    async def _post(self, row: Row) -> str | None:
        """Post to a webhook; return what is wrong with it."""
        body = dumps(row["body"] | {"webhook_sent_at": row["sent_at"]})
        try:
            async with (
                asyncio.timeout(self.seconds),
                request("POST", httpx2.URL(row["url"]), _HEADERS, self.network, body) as response,
            ):
                return None if 200 <= response.status < 300 else f"it answers with status {response.status}"
        except TimeoutError:
            return f"it takes more than {self.seconds:g} s"
        except Unresolvable:
            return "there is no server of its name"
        except UNREACHABLE as error:
            return f"it cannot be reached ({type(error).__name__})"


async def call_webhook(context: JobContext, run_id: str) -> None:
    """Tell that a run is over."""
    caller: WebhookCaller = context.additional_context["webhooks"]
    await caller.call(UUID(run_id), context.job.attempts)


TASKS = {"call_webhook": call_webhook}
