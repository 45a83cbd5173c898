"""What is not counted when it happens, but looked up when somebody asks: pools, caches, limits, the queue."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import QueuePool

from project4_agent_api.core.caches import CacheCounters
from project4_agent_api.core.postgres import Pool, Row, fetch_one
from project4_agent_api.core.rate_limits import RateLimiter
from project4_agent_api.core.telemetry.metrics import Metrics
from shared.background import background_task
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


class MetricsCollector(Collector):
    """Looks.

    Args:
        checks: The dependencies' checks.
        pools: The pools of the bare driver, by the name of each.
        orm_pool: SQLAlchemy's pool.
        caches: The counters of each cache, by its name.
        limits: The rate limits, in an API process.
        queue: The pool to read the queue's length with; None in a worker: every process would report the same.
    """

    def __init__(
        self,
        *,
        checks: Checks,
        pools: Mapping[str, AsyncConnectionPool[Any]],
        orm_pool: QueuePool,
        caches: Mapping[str, CacheCounters],
        limits: RateLimiter | None = None,
        queue: Pool | None = None,
    ) -> None:
        self._checks = checks
        self._pools = pools
        self._orm_pool = orm_pool
        self._caches = caches
        self._limits = limits
        self._queue = queue
        self._row: Row | None = None
        self._reachable: dict[str, bool] = {}
        self._looked_at = float("-inf")
        self._look = asyncio.Lock()

    async def refresh(self) -> None:
        """Ask what has to be asked over a network, at most once a second."""
        async with self._look:
            if monotonic() - self._looked_at < _FRESH_SECONDS:
                return
            self._reachable = {name: result.status == "ok" for name, result in (await self._checks.run()).items()}
            self._row = await self._ask(self._queue) if self._queue else None
            self._looked_at = monotonic()

    async def _ask(self, pool: Pool) -> Row | None:
        try:
            return await fetch_one(pool, _QUEUE)
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
        connections = GaugeMetricFamily(
            "agent_database_connections", "Connections of a pool to the database.", labels=["pool", "state"]
        )
        most = GaugeMetricFamily("agent_database_connections_max", "How many there may be.", labels=["pool"])
        waiting = GaugeMetricFamily("agent_database_waiting", "Who waits for a connection.", labels=["pool"])
        failed = CounterMetricFamily(
            "agent_database_pool_errors", "How often somebody who waited was given none.", labels=["pool"]
        )
        for name, pool in self._pools.items():
            stats: dict[str, int] = pool.get_stats()
            idle = stats["pool_available"]
            connections.add_metric([name, "idle"], idle)
            connections.add_metric([name, "used"], stats["pool_size"] - idle)
            most.add_metric([name], stats["pool_max"])
            waiting.add_metric([name], stats["requests_waiting"])
            failed.add_metric([name], stats.get("requests_errors", 0))
        orm = self._orm_pool  # SQLAlchemy does not say who waits
        connections.add_metric(["orm", "idle"], orm.checkedin())
        connections.add_metric(["orm", "used"], orm.checkedout())
        most.add_metric(["orm"], orm.size())
        yield from (connections, most, waiting, failed)

    def _of_caches(self) -> Iterable[Metric]:
        asked = CounterMetricFamily(
            "agent_cache_requests", "How often something was remembered, or not.", labels=["cache", "outcome"]
        )
        for name, counters in self._caches.items():
            asked.add_metric([name, "hit"], counters.hits)
            asked.add_metric([name, "miss"], counters.misses)
        yield asked

    def _of_limits(self) -> Iterable[Metric]:
        limits = self._limits
        if limits is None:  # in a worker
            return
        counted = CounterMetricFamily("agent_rate_limit_requests", "Requests that were counted.", labels=["outcome"])
        counted.add_metric(["let_in"], limits.allowed)
        counted.add_metric(["refused"], limits.rejected)
        yield counted
        yield CounterMetricFamily(
            "agent_rate_limit_alone", "How many of them without Redis, by this process alone.", limits.counted_locally
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


async def _measure_loop_lag(metrics: Metrics) -> None:
    """Measure how late the event loop is."""
    while True:
        began = monotonic()
        await asyncio.sleep(_LOOP_SECONDS)
        metrics.loop_lag.observe(max(0.0, monotonic() - began - _LOOP_SECONDS))


@asynccontextmanager
async def collecting(collector: MetricsCollector, metrics: Metrics) -> AsyncIterator[None]:
    """Register a collector and measure the lag of the event loop while the block runs."""
    metrics.registry.register(collector)
    try:
        async with background_task(_measure_loop_lag(metrics)):
            yield
    finally:
        metrics.registry.unregister(collector)
