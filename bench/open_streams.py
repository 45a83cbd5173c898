"""`python -m bench.open_streams [--streams 500] [--minutes 10]`: memory of one API process with many open streams.

Each stream is a run of the agent whose model sends a word per second for a minute; its reader then starts the next one.
So the number of open streams is constant, and thousands are opened and closed. Prints a line per minute; exits with
status 1 if a stream was interrupted or incomplete.
"""

import argparse
import asyncio
import sys
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

import psycopg
import uvloop
from redis.asyncio import Redis

from bench.client import Connection, UnexpectedAnswer, post
from bench.databases import migrated_database, postgresql, redis
from bench.paced_model import MODEL, Script
from bench.project4 import PACKAGE, Client, service, sign_up
from bench.servers import Server, running

_WORKERS = 2
_SCRIPT = Script(tokens=60, gap_ms=1000)


@dataclass
class Heard:
    """The readers' results.

    Attributes:
        open: Number of streams that are open now.
    """

    open: int = 0
    whole: int = 0
    events: int = 0
    wrong: list[str] = field(default_factory=list)


async def _read(client: Client, heard: Heard, delay: float, until: float) -> None:
    """Read one stream after another, the first after a delay in seconds."""
    await asyncio.sleep(delay)
    while monotonic() < until:
        connection = await Connection.open(client.server.port)
        try:
            await _read_one(client, connection, heard)
        except (UnexpectedAnswer, OSError, EOFError) as error:
            heard.wrong.append(f"{type(error).__name__}: {error}"[:500])
            await asyncio.sleep(1)
        finally:
            connection.close()


async def _read_one(client: Client, connection: Connection, heard: Heard) -> None:
    body = {
        "assistant_id": "agent",
        "input": {"messages": [{"role": "user", "content": str(_SCRIPT)}]},
        "stream_mode": "messages-tuple",
    }
    thread_id = await client.thread(connection)
    words = 0
    heard.open += 1
    try:
        async for _, event in connection.events(post(f"/threads/{thread_id}/runs/stream", body, client.token)):
            heard.events += 1
            words += b"event: messages" in event
    finally:
        heard.open -= 1
    if words < _SCRIPT.tokens:
        heard.wrong.append(f"a stream had {words} of {_SCRIPT.tokens} words")
    else:
        heard.whole += 1


async def _look(minute: float, heard: Heard, api: Server, workers: list[Server], url: str, redis_url: str) -> None:
    """Print the current state."""
    async with await psycopg.AsyncConnection.connect(url) as database, Redis.from_url(redis_url) as client:
        row = await (
            await database.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        ).fetchone()
        clients, memory = await client.info("clients"), await client.info("memory")
    print(
        f"minute {minute:.1f}: {heard.open} open, {heard.whole:,} ended whole, {heard.events:,} events, "
        f"{len(heard.wrong)} wrong; API {api.memory_mb():.1f} MB, {api.cpu_seconds():.0f} s of a processor; workers "
        f"{sum(worker.memory_mb() for worker in workers) / len(workers):.1f} MB, "
        f"{sum(worker.cpu_seconds() for worker in workers):.0f} s; "
        f"connections: {row[0] if row else 0} to PostgreSQL, {clients['connected_clients']} to Redis, which holds "
        f"{memory['used_memory'] / 1e6:.0f} MB",
        flush=True,
    )


async def measure(streams: int, minutes: float) -> Heard:
    """Keep the streams open, and print a line per minute."""
    heard = Heard()
    async with postgresql() as server, redis() as redis_url:
        with (
            migrated_database(server, "bench_streams", PACKAGE) as url,
            running("bench.paced_model") as model,
            service(
                url,
                redis_url,
                _WORKERS,
                OPENAI_BASE_URL=f"http://127.0.0.1:{model.port}/v1",
                LLM_MODEL=MODEL,
                LANGGRAPH_CONFIG="",
                WORKER_CONCURRENCY=str(streams),
                USER_RUNS_RUNNING_MAX=str(streams),
                ACCESS_TOKEN_MINUTES="600",  # noqa: S106  no password
            ) as (api, workers),
        ):
            client = Client(api, await sign_up(api))
            length = _SCRIPT.tokens * _SCRIPT.gap_ms / 1000
            started = monotonic()
            until = started + minutes * 60
            async with asyncio.TaskGroup() as reading:
                for number in range(streams):
                    reading.create_task(_read(client, heard, number * length / streams, until))
                while monotonic() < until:
                    await asyncio.sleep(min(60, max(0.1, until - monotonic())))
                    await _look((monotonic() - started) / 60, heard, api, workers, url, redis_url)
            await _look((monotonic() - started) / 60, heard, api, workers, url, redis_url)
    return heard


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.open_streams", description=__doc__.partition(":")[2])
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    heard = uvloop.run(measure(arguments.streams, arguments.minutes))
    for reason, times in Counter(heard.wrong).most_common(10):
        print(f"{times} x {reason}")
    sys.exit(bool(heard.wrong))


if __name__ == "__main__":
    main()
