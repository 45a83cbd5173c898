"""Metrics that are read when Prometheus asks for them: dependencies, pools, caches, rate limits, and the queue."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import QueuePool

from project4_agent_api.core.postgres import Pool, Row, fetch_one
from project4_agent_api.core.rate_limits import RateLimiter
from project4_agent_api.core.redis_cache import CacheCounters
from project4_agent_api.core.telemetry.metrics import Metrics
from shared.background import background_task
from shared.errors import DatabaseUnavailable
from shared.health import Checks

_FRESH_SECONDS = 1.0
_LAG_INTERVAL_SECONDS = 0.5

# Each count reads a partial index, so rows of ended runs are never read.
_QUEUE = """
    SELECT
        (SELECT count(*) FROM runs WHERE status = 'pending' AND due_at <= now()) AS waiting,
        (SELECT count(*) FROM runs WHERE status = 'pending' AND due_at > now()) AS scheduled,
        (SELECT count(*) FROM runs WHERE status = 'running') AS running,
        (SELECT coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 FROM runs
            WHERE status = 'pending' AND due_at <= now()) AS longest,
        (SELECT coalesce(sum(least(threads, %s)), 0)::float8 FROM (
            SELECT count(DISTINCT thread_id) AS threads FROM runs
            WHERE status = 'running' OR status = 'pending' AND due_at <= now() GROUP BY owner_id
        ) AS owners) AS demand,
        (SELECT jsonb_object_agg(queue_name || ' ' || status, amount) FROM (
            SELECT queue_name, status::text, count(*) AS amount FROM procrastinate_jobs
            WHERE status IN ('todo', 'doing') GROUP BY 1, 2
        ) AS jobs) AS jobs
"""


class MetricsCollector(Collector):
    """Collects the metrics of a process.

    Args:
        pools: The driver's pools by name.
        caches: The counters of the caches by name.
        limits: The rate limits; None in a worker.
        queue: The pool to query the queue with; None in a worker, because every process would report the same.
        user_runs: Maximum runs of one user that are executed at once.
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
        user_runs: int = 0,
    ) -> None:
        self._checks = checks
        self._pools = pools
        self._orm_pool = orm_pool
        self._caches = caches
        self._limits = limits
        self._queue = queue
        self._user_runs = user_runs
        self._row: Row | None = None
        self._reachable: dict[str, bool] = {}
        self._rendered = b""
        self._refreshed_at = float("-inf")
        self._refreshing = asyncio.Lock()

    async def render(self, registry: CollectorRegistry) -> bytes:
        """Return the metrics of a registry in Prometheus's text format, rendered at most once a second."""
        async with self._refreshing:
            if monotonic() - self._refreshed_at >= _FRESH_SECONDS:
                self._reachable = {name: result.status == "ok" for name, result in (await self._checks.run()).items()}
                self._row = await self._query_queue(self._queue) if self._queue else None
                self._rendered = generate_latest(registry)
                self._refreshed_at = monotonic()
            return self._rendered

    async def _query_queue(self, pool: Pool) -> Row | None:
        try:
            return await fetch_one(pool, _QUEUE, [self._user_runs])
        except DatabaseUnavailable:
            return None

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        yield from self._dependencies_metrics()
        yield from self._pools_metrics()
        yield from self._caches_metrics()
        yield from self._limits_metrics()
        if self._queue:
            yield from self._queue_metrics(self._row)

    def _dependencies_metrics(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("agent_dependency_up", "Whether the dependency is reachable.", labels=["dependency"])
        for name, reachable in self._reachable.items():
            up.add_metric([name], float(reachable))
        yield up

    def _pools_metrics(self) -> Iterable[Metric]:
        connections = GaugeMetricFamily(
            "agent_database_connections", "Database connections of a pool.", labels=["pool", "state"]
        )
        maximum = GaugeMetricFamily("agent_database_connections_max", "Maximum size of a pool.", labels=["pool"])
        waiting = GaugeMetricFamily(
            "agent_database_waiting", "Requests that are waiting for a connection.", labels=["pool"]
        )
        failed = CounterMetricFamily(
            "agent_database_pool_errors", "Requests that waited for a connection in vain.", labels=["pool"]
        )
        for name, pool in self._pools.items():
            stats: dict[str, int] = pool.get_stats()
            idle = stats["pool_available"]
            connections.add_metric([name, "idle"], idle)
            connections.add_metric([name, "used"], stats["pool_size"] - idle)
            maximum.add_metric([name], stats["pool_max"])
            waiting.add_metric([name], stats["requests_waiting"])
            failed.add_metric([name], stats.get("requests_errors", 0))
        orm = self._orm_pool  # SQLAlchemy does not count waiting requests
        connections.add_metric(["orm", "idle"], orm.checkedin())
        connections.add_metric(["orm", "used"], orm.checkedout())
        maximum.add_metric(["orm"], orm.size())
        yield from (connections, maximum, waiting, failed)

    def _caches_metrics(self) -> Iterable[Metric]:
        lookups = CounterMetricFamily("agent_cache_requests", "Cache lookups.", labels=["cache", "outcome"])
        for name, counters in self._caches.items():
            lookups.add_metric([name, "hit"], counters.hits)
            lookups.add_metric([name, "miss"], counters.misses)
        yield lookups

    def _limits_metrics(self) -> Iterable[Metric]:
        limits = self._limits
        if limits is None:  # in a worker
            return
        counted = CounterMetricFamily(
            "agent_rate_limit_requests", "Requests counted against a rate limit.", labels=["outcome"]
        )
        counted.add_metric(["let_in"], limits.allowed)
        counted.add_metric(["refused"], limits.rejected)
        yield counted
        yield CounterMetricFamily(
            "agent_rate_limit_alone", "Requests counted without Redis, by this process only.", limits.counted_locally
        )

    def _queue_metrics(self, row: Row | None) -> Iterable[Metric]:
        runs = GaugeMetricFamily("agent_runs", "Runs of the service that have not ended.", labels=["state"])
        longest = GaugeMetricFamily(
            "agent_runs_longest_wait_seconds", "Waiting time of the run that has waited longest."
        )
        demand = GaugeMetricFamily("agent_runs_demand", "Runs that would be executed at once with enough workers.")
        jobs = GaugeMetricFamily(
            "agent_jobs", "Jobs that have not ended: documents to ingest, webhooks to call.", labels=["queue", "state"]
        )
        if row is not None:  # without a result of the query, nothing is reported
            for state in ("waiting", "scheduled", "running"):
                runs.add_metric([state], row[state])
            longest.add_metric([], row["longest"])
            demand.add_metric([], row["demand"])
            amounts: dict[str, Any] = {"default todo": 0, "webhooks todo": 0} | (row["jobs"] or {})
            for name, amount in amounts.items():
                jobs.add_metric(name.rsplit(" ", 1), amount)
        yield from (runs, longest, demand, jobs)


async def _measure_loop_lag(metrics: Metrics) -> None:
    """Measure the delay of the event loop."""
    while True:
        started = monotonic()
        await asyncio.sleep(_LAG_INTERVAL_SECONDS)
        metrics.loop_lag.observe(max(0.0, monotonic() - started - _LAG_INTERVAL_SECONDS))


@asynccontextmanager
async def collecting(collector: MetricsCollector, metrics: Metrics) -> AsyncIterator[None]:
    """Register a collector and measure the lag of the event loop while the block runs."""
    metrics.registry.register(collector)
    try:
        async with background_task(_measure_loop_lag(metrics)):
            yield
    finally:
        metrics.registry.unregister(collector)
