"""The benchmark of stage 4: runs beside bare LangGraph, waiting and streaming, sequential and sixteen at once."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter, perf_counter_ns

import psutil

from bench.client import Connection, post
from bench.databases import migrated_database, postgresql, redis
from bench.graphs.echo import EVENTS
from bench.report import aims, conditions, noise, percentile, table
from bench.servers import Server, cpu_seconds, others_at_work, running

PACKAGE = "project4_agent_api"
AT_ONCE = 16
_ACCOUNT = {"email": "bench@example.com", "name": "Bench", "password": "correct horse battery staple"}


@dataclass(frozen=True)
class Plan:
    """The extent of the benchmark.

    Attributes:
        samples: Sequential requests per round.
        rounds: Rounds in which both servers take their turn.
        seconds: Duration of the concurrent requests in a round.
    """

    samples: int
    rounds: int
    seconds: float
    workers: tuple[int, ...]


FULL = Plan(samples=100, rounds=6, seconds=3.0, workers=(1, 2, 4))
QUICK = Plan(samples=10, rounds=1, seconds=0.5, workers=(2,))


@dataclass
class Figures:
    """The results of one server, by round.

    Attributes:
        wait_ms: `runs/wait` on one thread, sequential.
        first_event_ms: Time to the first event of a stream, sequential.
        thread_ms: `POST /threads`, sequential.
        waits: Creating a thread and waiting for a run, sixteen at once, per second.
        streams: Creating a thread and streaming fifty events, likewise.
        threads: `POST /threads`, likewise.
        wait_cpu_ms: CPU time for a thread and a run in `waits`, of the server's processes, PostgreSQL and Valkey.
    """

    wait_ms: list[float] = field(default_factory=list)
    first_event_ms: list[float] = field(default_factory=list)
    thread_ms: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    streams: list[float] = field(default_factory=list)
    threads: list[float] = field(default_factory=list)
    wait_cpu_ms: list[float] = field(default_factory=list)

    def ratio_to(self, other: "Figures", what: str) -> float:
        """Return the median of the rounds' ratios."""
        return float(
            median(mine / theirs for mine, theirs in zip(getattr(self, what), getattr(other, what), strict=True))
        )


@dataclass(frozen=True)
class Measured:
    """The results of both servers.

    Attributes:
        ours: The service with one worker.
        bare: Bare LangGraph.
        by_workers: Waits and streams per second, sixteen at once, by the number of workers.
        others_busy: Share of all cores' time that other processes used.
    """

    ours: Figures
    bare: Figures
    by_workers: dict[int, tuple[float, float]]
    others_busy: float


@dataclass(frozen=True)
class Client:
    """A client of one server.

    Attributes:
        processes: The processes of the server and its databases, whose CPU time is measured.
    """

    server: Server
    token: str | None
    processes: Sequence[psutil.Process] = ()

    async def thread(self, connection: Connection) -> str:
        """Create a thread, and return its id."""
        answer = json.loads(await connection.exchange(post("/threads", {}, self.token)))
        return str(answer["thread_id"])

    async def wait(self, connection: Connection, thread_id: str) -> None:
        """Run the graph, and wait for its result."""
        body = {"assistant_id": "echo", "input": {"messages": [{"role": "user", "content": "Hello"}]}}
        answer = await connection.exchange(post(f"/threads/{thread_id}/runs/wait", body, self.token))
        assert b"Echo: Hello" in answer, answer  # noqa: S101  otherwise something else would be measured

    async def stream(self, connection: Connection, thread_id: str) -> float:
        """Run the graph and read its events; return the milliseconds to the first event."""
        body = {
            "assistant_id": "echo",
            "input": {"messages": [{"role": "user", "content": "Hello"}]},
            "stream_mode": ["custom", "values"],
        }
        started = perf_counter_ns()
        first, customs = 0, 0
        async for received, event in connection.events(post(f"/threads/{thread_id}/runs/stream", body, self.token)):
            first = first or received
            customs += b"event: custom" in event
        assert customs == EVENTS, customs  # noqa: S101  likewise
        return (first - started) / 1e6

    async def thread_and_wait(self, connection: Connection) -> None:
        """Create a thread, and wait for a run on it."""
        await self.wait(connection, await self.thread(connection))

    async def thread_and_stream(self, connection: Connection) -> None:
        """Create a thread, and stream a run on it."""
        await self.stream(connection, await self.thread(connection))


async def measure(plan: Plan) -> Measured:
    """Measure both servers in turn, then ours with other numbers of workers."""
    by_workers = {}
    with others_at_work() as others:
        async with postgresql() as server, redis() as redis_url:
            databases = psutil.Process().children()
            with (
                migrated_database(server, "bench_ours", PACKAGE) as ours_url,
                migrated_database(server, "bench_bare", PACKAGE) as bare_url,
                running("bench.bare_graph", environment={"DATABASE_URL": bare_url}) as bare,
                service(ours_url, redis_url, 1) as (ours, (worker,)),
            ):
                clients = [
                    Client(ours, await sign_up(ours), [ours.process, worker.process, *databases]),
                    Client(bare, None, [bare.process, *databases]),
                ]
                figures = [Figures(), Figures()]
                for client in clients:
                    await measure_round(client, Plan(10, 1, 0.5, ()), Figures())  # warm-up
                for _ in range(plan.rounds):
                    for client, results in zip(clients, figures, strict=True):
                        await measure_round(client, plan, results)
            for workers in plan.workers:
                with (
                    migrated_database(server, f"bench_{workers}", PACKAGE) as url,
                    service(url, redis_url, workers) as (api, _),
                ):
                    by_workers[workers] = await _throughput(Client(api, await sign_up(api)), plan)
    return Measured(figures[0], figures[1], by_workers, others.busy)


async def _throughput(client: Client, plan: Plan) -> tuple[float, float]:
    """Return waits and streams per second, sixteen at once."""
    await measure_round(client, Plan(10, 1, 0.5, ()), Figures())  # warm-up
    waits = [await _rate(client, plan.seconds, client.thread_and_wait) for _ in range(plan.rounds)]
    streams = [await _rate(client, plan.seconds, client.thread_and_stream) for _ in range(plan.rounds)]
    return median(waits), median(streams)


@contextmanager
def service(database_url: str, redis_url: str, workers: int, **changes: str) -> Iterator[tuple[Server, list[Server]]]:
    """Start an API process and some workers; yield them."""
    environment = {
        "APP_ENV": "test",
        "LOG_LEVEL": "WARNING",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "LLM_MODEL": "none",
        "EMBEDDING_MODEL": "none",
        "JWT_SECRET": "a secret of the measurements, of more than 32 bytes",
        "RATE_LIMIT_PER_MINUTE": "1000000",
        "LANGGRAPH_CONFIG": str(Path(__file__).parent / "graphs" / "langgraph.json"),
    } | changes
    with ExitStack() as started:
        worker_servers = [
            started.enter_context(running(PACKAGE, "worker", environment=environment)) for _ in range(workers)
        ]
        yield started.enter_context(running(PACKAGE, environment=environment)), worker_servers


async def sign_up(server: Server) -> str:
    """Create an account, and return its token."""
    connection = await Connection.open(server.port)
    await connection.exchange(post("/auth/register", _ACCOUNT))
    form = f"username={_ACCOUNT['email']}&password={_ACCOUNT['password'].replace(' ', '+')}".encode()
    head = b"POST /auth/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded"
    answer = await connection.exchange(b"%b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(form), form))
    connection.close()
    return str(json.loads(answer)["access_token"])


async def measure_round(client: Client, plan: Plan, figures: Figures) -> None:
    """Measure a server once."""
    connection = await Connection.open(client.server.port)
    figures.thread_ms.append(await _p50(plan.samples, lambda: client.thread(connection)))
    thread_id = await client.thread(connection)
    figures.wait_ms.append(await _p50(plan.samples, lambda: client.wait(connection, thread_id)))
    firsts = [await client.stream(connection, await client.thread(connection)) for _ in range(plan.samples)]
    figures.first_event_ms.append(percentile(firsts, 50))
    connection.close()

    cpu_before, started = cpu_seconds(client.processes), perf_counter()
    figures.waits.append(await _rate(client, plan.seconds, client.thread_and_wait))
    runs = figures.waits[-1] * (perf_counter() - started)
    figures.wait_cpu_ms.append((cpu_seconds(client.processes) - cpu_before) / runs * 1000)
    figures.streams.append(await _rate(client, plan.seconds, client.thread_and_stream))
    figures.threads.append(await _rate(client, plan.seconds, client.thread))


async def _p50(samples: int, ask: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(samples):
        started = perf_counter()
        await ask()
        times.append((perf_counter() - started) * 1000)
    return percentile(times, 50)


async def _rate(client: Client, seconds: float, ask: Callable[[Connection], Awaitable[object]]) -> float:
    """Send sixteen requests at once for some seconds; return the requests per second."""
    connections = [await Connection.open(client.server.port) for _ in range(AT_ONCE)]
    started = perf_counter()
    done = count()

    async def keep_asking(connection: Connection) -> None:
        while perf_counter() - started < seconds:
            await ask(connection)
            next(done)

    await asyncio.gather(*map(keep_asking, connections))
    rate = next(done) / (perf_counter() - started)
    for connection in connections:
        connection.close()
    return rate


_PACKAGES = ["fastapi", "uvicorn", "uvloop", "langgraph", "langgraph-checkpoint-postgres", "psycopg", "redis", "orjson"]
_ROWS = [
    ("`runs/wait`, one at a time, p50", "wait_ms", "≤ 11 ms", 11.0),
    ("thread + wait, 16 at once", "waits", "≥ 140 /s", 140.0),
    ("thread + stream of 50, 16 at once", "streams", "≥ 140 /s", 140.0),
    ("first event of a stream, p50", "first_event_ms", "≤ 4.5 ms", 4.5),
    ("`POST /threads`, one at a time, p50", "thread_ms", "≤ 1.8 ms", 1.8),
    ("`POST /threads`, 16 at once", "threads", "≥ 700 /s", 700.0),
    ("CPU time of thread + wait, databases included", "wait_cpu_ms", "≤ 12.5 ms", 12.5),
]


def section(plan: Plan, measured: Measured) -> str:
    """Return stage 4's section of README.md."""

    def shown(what: str, value: float) -> str:
        return f"{value:.1f} ms" if what.endswith("_ms") else f"{value:,.0f} /s"

    reached = []
    compared = []
    for name, what, aim, bar in _ROWS:
        ours, bare = median(getattr(measured.ours, what)), median(getattr(measured.bare, what))
        reached.append((name, aim, shown(what, ours), ours <= bar if what.endswith("_ms") else ours >= bar))
        ratio = measured.ours.ratio_to(measured.bare, what)
        compared.append([name, shown(what, ours), shown(what, bare), f"{ratio:.2f} x"])
    by_workers = [
        [str(workers), f"{waits:,.0f} /s", f"{streams:,.0f} /s"]
        for workers, (waits, streams) in measured.by_workers.items()
    ]
    return f"""\
## Stage 4: runs

{conditions("project4", _PACKAGES)}
{noise(measured.others_busy)}

{aims(reached)}

The graph has two nodes that emit {EVENTS} custom events and one message (`bench/graphs/echo.py`). *Ours* is an API
process and one worker: each request is authenticated by a token, each run is a row that a worker claims, and each event
goes through Redis. *Bare* is the same graph in one process with LangGraph's own checkpoint saver behind a minimal
Starlette route (`bare_graph.py`): no tables, queue or worker, no shared events, no authentication; its `POST /threads`
stores nothing. They take turns in {plan.rounds} rounds; client, servers, PostgreSQL and Valkey share the machine's
cores. Ratios are medians of the ratios within a round.

{table(["", "ours", "bare LangGraph", "ours to bare"], compared)}

Ours with more workers, sixteen requests at once, all on the same cores:

{table(["workers", "thread + wait", "thread + stream of 50"], by_workers)}
"""
