"""What is not counted when it happens, but looked up when somebody asks: pools, caches, limits, the queue."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from fastapi import FastAPI
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from project4_agent_api.core.postgres import Row, connected
from project4_agent_api.core.telemetry.metrics import Metrics
from shared.background import in_background
from shared.errors import DatabaseUnavailable
from shared.health import Checks

_FRESH_SECONDS = 1.0
_LOOP_SECONDS = 0.5
_NO_ROWS: list[Row] = []

# Each count is of an index that holds nothing else; what is over is never looked at.
_QUEUE = """
    SELECT
        (SELECT count(*) FROM runs WHERE status = 'pending' AND due_at <= now()) AS waiting,
        (SELECT count(*) FROM runs WHERE status = 'pending' AND due_at > now()) AS scheduled,
        (SELECT count(*) FROM runs WHERE status = 'running') AS running,
        (SELECT coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 FROM runs
            WHERE status = 'pending' AND due_at <= now()) AS longest,
        (SELECT jsonb_object_agg(queue_name || ' ' || status, amount) FROM (
            SELECT queue_name, status::text, count(*) AS amount FROM procrastinate_jobs
            WHERE status IN ('todo', 'doing') GROUP BY 1, 2
        ) AS jobs) AS jobs
"""


class Looking(Collector):
    """Looks.

    Args:
        app: Whose state is looked at.
        queue: Whether the queue is looked at too. All processes would say the same of it.
    """

    def __init__(self, app: FastAPI, *, queue: bool) -> None:
        self._app = app
        self._queue = queue
        self._row: Row | None = None
        self._reachable: dict[str, bool] = {}
        self._looked_at = float("-inf")
        self._look = asyncio.Lock()

    async def look(self) -> None:
        """Ask what has to be asked over a network, at most once a second."""
        async with self._look:
            if monotonic() - self._looked_at < _FRESH_SECONDS:
                return
            checks: Checks = self._app.state.checks
            self._reachable = {name: result.status == "ok" for name, result in (await checks.results()).items()}
            self._row = await self._ask() if self._queue else None
            self._looked_at = monotonic()

    async def _ask(self) -> Row | None:
        try:
            async with connected(self._app.state.pool) as connection:
                cursor = await connection.execute(_QUEUE)
                return await cursor.fetchone()
        except DatabaseUnavailable:
            return None

    def collect(self) -> Iterable[Metric]:
        """Give what was seen."""
        yield from self._of_dependencies()
        yield from self._of_pools()
        yield from self._of_caches()
        yield from self._of_limits()
        if self._queue:
            yield from self._of_queue(self._row)

    def _of_dependencies(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("agent_dependency_up", "Whether something can be reached.", labels=["dependency"])
        for name, answer in self._reachable.items():
            up.add_metric([name], float(answer))
        yield up

    def _of_pools(self) -> Iterable[Metric]:
        state = self._app.state
        connections = GaugeMetricFamily(
            "agent_database_connections", "Connections of a pool to the database.", labels=["pool", "state"]
        )
        most = GaugeMetricFamily("agent_database_connections_max", "How many there may be.", labels=["pool"])
        waiting = GaugeMetricFamily("agent_database_waiting", "Who waits for a connection.", labels=["pool"])
        failed = CounterMetricFamily(
            "agent_database_pool_errors", "How often somebody who waited was given none.", labels=["pool"]
        )
        for name, pool in (("runs", state.pool), ("jobs", state.jobs.connector.pool)):
            stats: dict[str, int] = pool.get_stats()
            idle = stats["pool_available"]
            connections.add_metric([name, "idle"], idle)
            connections.add_metric([name, "used"], stats["pool_size"] - idle)
            most.add_metric([name], stats["pool_max"])
            waiting.add_metric([name], stats["requests_waiting"])
            failed.add_metric([name], stats.get("requests_errors", 0))
        orm = state.engine.pool  # SQLAlchemy does not say who waits
        connections.add_metric(["orm", "idle"], orm.checkedin())
        connections.add_metric(["orm", "used"], orm.checkedout())
        most.add_metric(["orm"], orm.size())
        yield from (connections, most, waiting, failed)

    def _of_caches(self) -> Iterable[Metric]:
        asked = CounterMetricFamily(
            "agent_cache_requests", "How often something was remembered, or not.", labels=["cache", "outcome"]
        )
        for name, counters in self._app.state.cache_counters.items():
            asked.add_metric([name, "hit"], counters.hits)
            asked.add_metric([name, "miss"], counters.misses)
        yield asked

    def _of_limits(self) -> Iterable[Metric]:
        limits = getattr(self._app.state, "rate_limits", None)  # a worker has none
        if limits is None:
            return
        counted = CounterMetricFamily("agent_rate_limit_requests", "Requests that were counted.", labels=["outcome"])
        counted.add_metric(["let_in"], limits.let_in)
        counted.add_metric(["refused"], limits.refused)
        yield counted
        yield CounterMetricFamily(
            "agent_rate_limit_alone", "How many of them without Redis, by this process alone.", limits.counted_alone
        )

    def _of_queue(self, row: Row | None) -> Iterable[Metric]:
        runs = GaugeMetricFamily("agent_runs", "Runs of the service that are not over.", labels=["state"])
        longest = GaugeMetricFamily("agent_runs_longest_wait_seconds", "How long the first of those that wait has.")
        jobs = GaugeMetricFamily(
            "agent_jobs", "Jobs: documents to be read, webhooks to be called.", labels=["queue", "state"]
        )
        if row is not None:  # what is not known is not said
            for state in ("waiting", "scheduled", "running"):
                runs.add_metric([state], row[state])
            longest.add_metric([], row["longest"])
            found: dict[str, Any] = {"default todo": 0, "webhooks todo": 0} | (row["jobs"] or {})
            for name, amount in found.items():
                jobs.add_metric(name.rsplit(" ", 1), amount)
        yield from (runs, longest, jobs)


async def _watch_loop(metrics: Metrics) -> None:
    """Measure how late the event loop is."""
    while True:
        began = monotonic()
        await asyncio.sleep(_LOOP_SECONDS)
        metrics.loop_lag.observe(max(0.0, monotonic() - began - _LOOP_SECONDS))


@asynccontextmanager
async def looking(app: FastAPI) -> AsyncIterator[None]:
    """Look at what the API's process has opened."""
    async with _watching(app, queue=True):
        yield


@asynccontextmanager
async def looking_at_worker(app: FastAPI) -> AsyncIterator[None]:
    """Look at what a worker has opened."""
    async with _watching(app, queue=False):
        yield


@asynccontextmanager
async def _watching(app: FastAPI, *, queue: bool) -> AsyncIterator[None]:
    metrics: Metrics = app.state.metrics
    app.state.looking = Looking(app, queue=queue)
    metrics.registry.register(app.state.looking)
    try:
        async with in_background(_watch_loop(metrics)):
            yield
    finally:
        metrics.registry.unregister(app.state.looking)
