"""`python -m bench.run_profile [--seconds 10] [--workers 1]`: what a run costs each process, and how many messages.

Sixteen clients create a thread and wait for a run on it. The processor time, the transactions of PostgreSQL and the
commands of Valkey hardly depend on what else the machine does, so they can be compared before and after a change.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from itertools import count
from time import perf_counter
from typing import Any

import psutil
import psycopg
import uvloop
from redis import Redis

from bench.client import Connection
from bench.databases import migrated_database, postgresql, redis
from bench.project4 import AT_ONCE, PACKAGE, Client, service, sign_up
from bench.report import table
from bench.servers import cpu_seconds

_TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
_STATS = "total_commands_processed", "total_reads_processed"


class Costs:
    """The costs of the service's processes so far.

    Args:
        processes: By name.
    """

    def __init__(self, processes: Mapping[str, list[psutil.Process]], database_url: str, redis_url: str) -> None:
        self._processes = processes
        self._database_url = database_url
        self._redis = Redis.from_url(redis_url)

    def read(self) -> Counter[str]:
        """Return the costs by name: milliseconds of processor time, transactions and commands."""
        costs = Counter({f"{name}, ms": cpu_seconds(each) * 1000 for name, each in self._processes.items()})
        with psycopg.connect(self._database_url) as connection:
            [costs["transactions"]] = connection.execute(_TRANSACTIONS).fetchone() or [0]
        stats: dict[str, Any] = self._redis.info("stats")
        costs["Redis commands"], costs["Redis reads"] = (stats[name] for name in _STATS)
        for name, of_command in self._redis.info("commandstats").items():
            costs[name.removeprefix("cmdstat_")] = of_command["calls"]
        return costs


async def _repeat(client: Client, seconds: float, ask: Callable[[Connection], Awaitable[object]]) -> int:
    """Repeat a request on sixteen connections; return how often."""
    done, ends_at = count(), perf_counter() + seconds

    async def keep_asking() -> None:
        connection = await Connection.open(client.server.port)
        while perf_counter() < ends_at:
            await ask(connection)
            next(done)
        connection.close()

    await asyncio.gather(*(keep_asking() for _ in range(AT_ONCE)))
    return next(done)


async def measure(seconds: float, workers: int, log_level: str) -> dict[str, dict[str, float]]:
    """Return the costs of one request by kind of request."""
    async with AsyncExitStack() as started:
        server = await started.enter_async_context(postgresql())
        redis_url = await started.enter_async_context(redis())
        databases = [child for child in psutil.Process().children() if child.is_running()]
        url = started.enter_context(migrated_database(server, "bench_profile", PACKAGE))
        api, worker_servers = started.enter_context(service(url, redis_url, workers, LOG_LEVEL=log_level))
        processes = {
            "API": [api.process],
            "workers": [worker.process for worker in worker_servers],
            "PostgreSQL": databases[:1],
            "Valkey": databases[1:],
        }
        costs = Costs(processes, url, redis_url)
        client = Client(api, await sign_up(api))
        kinds = {
            "thread + wait": client.thread_and_wait,
            "thread + stream of 50": client.thread_and_stream,
            "`POST /threads`": client.thread,
        }
        measured = {}
        for kind, ask in kinds.items():
            await _repeat(client, 1, ask)  # warm-up
            before = await asyncio.to_thread(costs.read)
            requests = await _repeat(client, seconds, ask)
            after = await asyncio.to_thread(costs.read)
            measured[kind] = {name: (value - before[name]) / requests for name, value in after.items()}
    return measured


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.run_profile", description="The costs of a run by process.")
    parser.add_argument("--seconds", type=float, default=10, help="for each kind of request")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log-level", default="WARNING", help="of the service; INFO writes a line per request and run")
    arguments = parser.parse_args()
    measured = uvloop.run(measure(arguments.seconds, arguments.workers, arguments.log_level))
    names = [
        name for name in next(iter(measured.values())) if any(costs.get(name, 0) > 0.05 for costs in measured.values())
    ]
    rows = [[name, *(f"{costs.get(name, 0):.2f}" for costs in measured.values())] for name in names]
    print(table(["per request", *measured], rows))


if __name__ == "__main__":
    main()
