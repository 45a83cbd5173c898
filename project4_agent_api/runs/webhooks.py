"""Webhooks: when a run has ended, POST it to the address that the run names.

A call is stored in the transaction in which the run ends, so it survives the worker, the run and the thread. A job of
any worker makes the call, and retries it with growing pauses. If a worker dies between making a call and recording it,
the address is called twice.

Calls have the headers of Standard Webhooks: see `webhook_signatures.py`.

The address may contain a secret, and the body belongs to the run's owner: neither is logged.
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

from project4_agent_api.core.postgres import Connection, Pool, Row, execute, fetch_all, fetch_one
from project4_agent_api.core.serialization import dumps
from project4_agent_api.core.telemetry.metrics import WEBHOOK_DELIVERED, WEBHOOK_GIVEN_UP, WEBHOOK_RETRIED, Metrics
from project4_agent_api.runs.webhook_policy import EVERYTHING, WebhookPolicy
from project4_agent_api.runs.webhook_signatures import WebhookSecrets
from project4_agent_api.settings import Settings
from shared.errors import DatabaseUnavailable
from shared.jobs.queue import RetryLater, Turn, defer
from shared.outbound.addresses import NotPublicError, PublicAddresses, UnresolvableError, resolve
from shared.outbound.requests import UNREACHABLE, request

QUEUE = "webhooks"
CONCURRENCY = 20  # calls at once; nearly all of their time is waiting for other servers
_CALLS_OF_USER = 5  # at once, so that slow addresses of one user do not delay the calls of others
_BACK_OFF = 5  # seconds to this power: 1 s, 5 s, 25 s, about 2 min, 10 min, 52 min
_DATABASE_SECONDS = 10.0
_HEADERS = [
    (b"User-Agent", b"agent-api-webhook"),
    (b"Accept", b"*/*"),
    (b"Content-Type", b"application/json"),
]


@dataclass(frozen=True)
class Webhooks:
    """Stores the calls of ended runs, and defers a job for each."""

    jobs: App
    policy: WebhookPolicy = EVERYTHING

    async def store(self, connection: Connection, run_ids: Sequence[UUID]) -> None:
        """Store the calls for runs that have ended and have a webhook.

        Args:
            connection: In the transaction in which the runs end.
            run_ids: The runs; their rows and their threads' already show how they ended.
        """
        for row in await fetch_all(connection, _ENDED_RUNS, [list(run_ids)]):
            owner_id = row.pop("owner_id")
            if row["error"] is None:
                del row["error"]
            parameters = [row["run_id"], owner_id, row["kwargs"]["webhook"], Jsonb(row)]
            await execute(connection, _STORE_CALL, parameters)
            run_id = str(row["run_id"])
            turn = Turn(str(owner_id), _CALLS_OF_USER, cost=1)
            await defer(self.jobs, connection, "call_webhook", lock=turn, run_id=run_id)


_ENDED_RUNS = """
    SELECT runs.run_id, runs.thread_id, runs.assistant_id, runs.created_at, runs.updated_at, runs.status,
        runs.metadata, runs.kwargs #- '{config,configurable,langgraph_auth_user}' AS kwargs,
        runs.multitask_strategy, runs.started_at AS run_started_at,
        runs.updated_at AS run_ended_at, threads.values, runs.error, runs.owner_id,
        CASE WHEN runs.status = 'interrupted' THEN coalesce(runs.error ->> 'message', 'The run was stopped.') END
            AS cancel_reason
    FROM runs JOIN threads USING (thread_id)
    WHERE run_id = ANY(%s) AND jsonb_typeof(kwargs -> 'webhook') = 'string'
"""
_STORE_CALL = "INSERT INTO webhooks (run_id, owner_id, url, body, created_at) VALUES (%s, %s, %s, %s, now())"
_GET_CALL = """
    SELECT run_id, owner_id, url, body, now() AS sent_at,
        array_remove(ARRAY[salt, CASE WHEN previous_valid_until > now() THEN previous_salt END], NULL) AS salts
    FROM webhooks LEFT JOIN webhook_secrets ON user_id = owner_id WHERE run_id = %s
"""
_DELETE_CALL = "DELETE FROM webhooks WHERE run_id = %s"


@dataclass(frozen=True)
class WebhookCaller:
    """Makes the stored calls."""

    pool: Pool
    network: httpcore2.AsyncNetworkBackend
    seconds: float
    attempts: int
    metrics: Metrics
    secrets: WebhookSecrets
    policy: WebhookPolicy = EVERYTHING

    @classmethod
    def from_settings(
        cls, settings: Settings, pool: Pool, metrics: Metrics, policy: WebhookPolicy = EVERYTHING
    ) -> "WebhookCaller":
        """Create a caller that connects to public addresses only, unless the settings permit others."""
        network: httpcore2.AsyncNetworkBackend = httpcore2.AnyIOBackend()
        if not settings.webhook_allow_private:
            network = PublicAddresses(resolve, network)
        return cls(
            pool,
            network,
            settings.webhook_timeout_seconds,
            settings.webhook_attempts,
            metrics,
            WebhookSecrets.from_settings(settings),
            policy,
        )

    async def call(self, run_id: UUID, earlier: int) -> None:
        """Call the webhook of a run.

        Args:
            earlier: How many attempts were made before.

        Raises:
            RetryLater: if the call failed and there are attempts left.
        """
        try:
            row = await fetch_one(self.pool, _GET_CALL, [run_id])
            if row is None:
                return
            try:
                failure = await self._post(row)
            except NotPublicError:
                failure, earlier = "its address is not public", self.attempts
            if failure and earlier + 1 < self.attempts:
                logger.warning("the webhook of run {} is called again later: {}", run_id, failure)
                self.metrics.webhooks.labels(WEBHOOK_RETRIED).inc()
                raise RetryLater(_BACK_OFF**earlier, lock=f"webhook {run_id}")
            await execute(self.pool, _DELETE_CALL, [run_id])
        except DatabaseUnavailable:
            raise RetryLater(_DATABASE_SECONDS, lock=f"webhook {run_id}") from None
        self.metrics.webhooks.labels(WEBHOOK_GIVEN_UP if failure else WEBHOOK_DELIVERED).inc()
        if failure:
            logger.error("the webhook of run {} is not called again: {}", run_id, failure)
        else:
            logger.info("the webhook of run {} was called", run_id)

    async def _post(self, row: Row) -> str | None:
        """Make a call. Return why it failed; None if it succeeded."""
        body = dumps(row["body"] | {"webhook_sent_at": row["sent_at"]})
        message_id = f"run_{row['run_id'].hex}"
        signed = self.secrets.headers(row["owner_id"], row["salts"], message_id, row["sent_at"], body)
        try:
            async with (
                asyncio.timeout(self.seconds),
                request(
                    "POST", httpx2.URL(row["url"]), [*_HEADERS, *self.policy.headers, *signed], self.network, body
                ) as response,
            ):
                return None if 200 <= response.status < 300 else f"it responded with status {response.status}"
        except TimeoutError:
            return f"it took more than {self.seconds:g} s"
        except UnresolvableError:
            return "its host name cannot be resolved"
        except UNREACHABLE as error:
            return f"it cannot be reached ({type(error).__name__})"


async def call_webhook(context: JobContext, run_id: str) -> None:
    """Call the webhook of a run that has ended."""
    caller: WebhookCaller = context.additional_context["webhooks"]
    await caller.call(UUID(run_id), context.job.attempts)


TASKS = {"call_webhook": call_webhook}
