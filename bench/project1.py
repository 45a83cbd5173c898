"""The benchmark of stage 1: added latency, throughput and CPU time, and memory growth."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median
from time import perf_counter, perf_counter_ns, process_time

from bench.bare import HTTP_LIBRARY
from bench.client import Connection, UnexpectedAnswer, get, post
from bench.paced_model import MODEL, Script, sent_at
from bench.rates import CONNECTIONS, Rate, rates_of
from bench.report import aims, conditions, noise, percentile, table, template
from bench.servers import Server, others_at_work, running

MEMORY_SCRIPT = Script(20)
ASK_SCRIPT = Script(10)


@dataclass(frozen=True)
class Plan:
    """The extent of the benchmark.

    Attributes:
        levels: Scripts, by the number of open streams.
        stream_rounds: Rounds in which every level runs once directly and once through the service.
        counted_streams: Counted streams per client and round, by the number of open streams.
        rate_rounds: Rounds in which every server is measured for `rate_seconds`.
        answers: Streamed answers between two measurements of memory.
    """

    levels: Mapping[int, Script]
    stream_rounds: int
    counted_streams: Mapping[int, int]
    rate_rounds: int
    rate_seconds: float
    answers: int


FULL = Plan(
    levels={1: Script(10, 20), 100: Script(15, 200), 500: Script(10, 1000)},
    stream_rounds=2,
    counted_streams={1: 60, 100: 2, 500: 1},
    rate_rounds=12,
    rate_seconds=1.0,
    answers=500,
)
QUICK = Plan(
    levels={1: Script(5, 20), 20: Script(5, 100)},
    stream_rounds=1,
    counted_streams={1: 5, 20: 1},
    rate_rounds=2,
    rate_seconds=0.2,
    answers=20,
)


@dataclass
class Streams:
    """The clients' results at one level, direct or through the service; times in milliseconds.

    Attributes:
        first: Milliseconds from the request to the first token.
        under_way: From the model's sending of a token to its receipt.
        errors: Number of streams that were incomplete or did not end properly.
        seconds: Total duration; `client_busy`, `model_busy` and `service_busy` are the CPU time in it.
    """

    first: list[float] = field(default_factory=list)
    under_way: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0
    client_busy: float = 0
    model_busy: float = 0
    service_busy: float = 0


@dataclass(frozen=True)
class Level:
    """The results with one number of open streams, direct and through the service."""

    streams: int
    script: Script
    direct: Streams = field(default_factory=Streams)
    through: Streams = field(default_factory=Streams)


@dataclass(frozen=True)
class Figures:
    """All results.

    Attributes:
        rates: By path, then by server: `service`, `fastapi`, `starlette`.
        memory_mb: By the number of answers streamed so far.
        others_busy: Share of all cores' time that other processes used.
    """

    levels: list[Level]
    rates: dict[str, dict[str, Rate]]
    memory_mb: dict[int, float]
    others_busy: float


async def measure(plan: Plan) -> Figures:
    """Run all parts, one after another."""
    with others_at_work() as others, running("bench.paced_model") as model:
        environment = {
            "APP_ENV": "production",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{model.port}/v1",
            "LLM_MODEL": MODEL,
        }
        with running("bench.collectable", "project1_qa_api", environment=environment) as service:
            memory = await memory_after_answers(service, plan.answers)
        with running("project1_qa_api", environment=environment) as service:
            levels = await latencies(plan, model, service)
        with (
            running("project1_qa_api", environment=environment) as service,
            running("bench.bare", "fastapi", environment=environment) as fastapi,
            running("bench.bare", "starlette", environment=environment) as starlette,
        ):
            servers = {"service": service, "fastapi": fastapi, "starlette": starlette}
            rates = {
                "/health": await _rates(plan, servers, get("/health")),
                "/ask": await _rates(plan, servers, post("/ask", {"question": str(ASK_SCRIPT)})),
            }
    return Figures(levels, rates, memory, others.busy)


async def latencies(plan: Plan, model: Server, service: Server) -> list[Level]:
    """Stream directly and through the service in turn, at every level."""
    levels = [Level(streams, script) for streams, script in plan.levels.items()]
    for level in levels:
        question = str(level.script)
        ways = [
            (
                level.direct,
                model,
                post(
                    "/v1/chat/completions",
                    {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": question}]},
                ),
            ),
            (level.through, service, post("/ask/stream", {"question": question})),
        ]
        for _ in range(plan.stream_rounds):
            for seen, server, request in ways:
                with _timed(seen, model, service):
                    await _keep_streams_open(seen, level, server.port, request, plan.counted_streams[level.streams])
    return levels


async def _keep_streams_open(seen: Streams, level: Level, port: int, request: bytes, counted: int) -> None:
    """Keep a number of streams open, with starts spread evenly over the duration of one.

    Each client's first and last stream do not count: they keep the number constant while other clients count theirs.
    """
    length = level.script.tokens * level.script.gap_ms / 1000

    async def client(number: int) -> None:
        await asyncio.sleep(length * number / level.streams)
        connection = await Connection.open(port)
        try:
            await read_stream(Streams(), level.script, connection, request)
            for _ in range(counted):
                await read_stream(seen, level.script, connection, request)
            await read_stream(Streams(), level.script, connection, request)
        except (UnexpectedAnswer, OSError, EOFError):
            seen.errors += 1
        finally:
            connection.close()

    await asyncio.gather(*(client(number) for number in range(level.streams)))


async def read_stream(seen: Streams, script: Script, connection: Connection, request: bytes) -> None:
    """Read one stream to its end, and record its times.

    Raises:
        UnexpectedAnswer: if it is not complete.
    """
    previous = perf_counter_ns()
    tokens = 0
    last = b""
    async for received, last in connection.events(request):
        sent = sent_at(last)
        if sent is None:
            continue
        tokens += 1
        seen.under_way.append((received - sent) / 1e6)
        (seen.first if tokens == 1 else seen.gaps).append((received - previous) / 1e6)
        previous = received
    if tokens != script.tokens or not (last.startswith(b"event: done") or last == b"data: [DONE]"):
        raise UnexpectedAnswer(f"{tokens} tokens of {script.tokens}")


@contextmanager
def _timed(seen: Streams, model: Server, service: Server) -> Iterator[None]:
    before = perf_counter(), process_time(), model.cpu_seconds(), service.cpu_seconds()
    yield
    after = perf_counter(), process_time(), model.cpu_seconds(), service.cpu_seconds()
    wall, client, model_cpu, service_cpu = (b - a for a, b in zip(before, after, strict=True))
    seen.seconds += wall
    seen.client_busy += client
    seen.model_busy += model_cpu
    seen.service_busy += service_cpu


async def _rates(plan: Plan, servers: Mapping[str, Server], request: bytes) -> dict[str, Rate]:
    return await rates_of(
        servers, repeat(request), rounds=plan.rate_rounds, seconds=plan.rate_seconds, connections=CONNECTIONS
    )


async def memory_after_answers(service: Server, step: int) -> dict[int, float]:
    """Stream answers, and measure the service's memory after a warm-up and after 1, 2, 4 and 6 steps of answers."""
    request = post("/ask/stream", {"question": str(MEMORY_SCRIPT)})
    await _stream_answers(service, request, step // 5)
    memory = {0: await service.settled_memory_mb()}
    answers = 0
    for steps in (1, 1, 2, 2):
        await _stream_answers(service, request, steps * step)
        answers += steps * step
        memory[answers] = await service.settled_memory_mb()
    return memory


async def _stream_answers(service: Server, request: bytes, count: int) -> None:
    async def client(share: int) -> None:
        connection = await Connection.open(service.port)
        for _ in range(share):
            await read_stream(Streams(), MEMORY_SCRIPT, connection, request)
        connection.close()

    shares = [count // CONNECTIONS + (number < count % CONNECTIONS) for number in range(CONNECTIONS)]
    await asyncio.gather(*map(client, shares))


PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "pydantic",
    "langchain-core",
    "langchain-openai",
    "openai",
    HTTP_LIBRARY,
)
_NAMES = {"service": "stage 1", "fastapi": "bare FastAPI", "starlette": "bare Starlette"}


def section(plan: Plan, figures: Figures) -> str:
    """Return stage 1's section of README.md."""
    return template("project1").format(
        conditions=conditions("project1", PACKAGES),
        noise=noise(figures.others_busy),
        aims=_aims(figures),
        latency=_latency(figures.levels),
        load=_load(figures.levels),
        rates=_rates_table(figures),
        memory=table(
            ["answers", *(f"{answers:,}" for answers in figures.memory_mb)],
            [["MB", *(f"{megabytes:.1f}" for megabytes in figures.memory_mb.values())]],
        ),
        memory_verdict=_memory_verdict(figures.memory_mb),
        rounds=plan.rate_rounds,
        seconds=plan.rate_seconds,
        connections=CONNECTIONS,
        ask_tokens=ASK_SCRIPT.tokens,
        memory_tokens=MEMORY_SCRIPT.tokens,
        warm_up=plan.answers // 5,
        http_library=HTTP_LIBRARY,
    )


def _aims(figures: Figures) -> str:
    one, *_, most = figures.levels
    added = _added(one, "first", 50)
    ratio = figures.rates["/ask"]["service"].ratio_to(figures.rates["/ask"]["fastapi"])
    errors = sum(level.direct.errors + level.through.errors for level in figures.levels)
    rows = [
        ("added to the first token, 1 stream, p50", "≤ 2 ms", f"{added:.2f} ms", added <= 2),
        ("`/ask` against a bare FastAPI route", "≥ 60 %", f"{ratio:.0%}", ratio >= 0.6),
        (f"errors with up to {most.streams} open streams", "0", str(errors), errors == 0),
    ]
    return aims(rows)


def _latency(levels: list[Level]) -> str:
    rows: list[list[str]] = []
    for level in levels:
        for measure, title in (("first", "first token"), ("under_way", "under way"), ("gaps", "gap between tokens")):
            rows.append(
                [
                    f"{level.streams}, {level.script.gap_ms} ms apart",
                    title,
                    *(_pair(*(percentile(getattr(way, measure), p) for p in (50, 99))) for way in _ways(level)),
                    _pair(*(_added(level, measure, p) for p in (50, 99))),
                    f"{len(getattr(level.through, measure)):,}",
                ]
            )
    return table(["streams", "", "direct", "through the service", "added", "samples"], rows)


def _added(level: Level, measure: str, percent: float) -> float:
    direct, through = (percentile(getattr(way, measure), percent) for way in _ways(level))
    return through - direct


def _ways(level: Level) -> tuple[Streams, Streams]:
    return level.direct, level.through


def _pair(p50: float, p99: float) -> str:
    return f"{p50:.2f} / {p99:.2f}"


def _load(levels: list[Level]) -> str:
    rows = []
    for level in levels:
        for way, seen in (("direct", level.direct), ("through the service", level.through)):
            busy = (seen.client_busy, seen.model_busy, seen.service_busy)
            rows.append([f"{level.streams}, {way}", *(f"{one / seen.seconds:.0%}" for one in busy), str(seen.errors)])
    return table(["streams", "client", "model server", "service", "errors"], rows)


def _rates_table(figures: Figures) -> str:
    rows = []
    for path, rates in figures.rates.items():
        for name, rate in rates.items():
            ratios = [f"{rates['service'].ratio_to(rate):.0%}" if name != "service" else ""]
            each = f"{median(rate.per_second):,.0f}"
            rows.append([f"`{path}`, {_NAMES[name]}", each, f"{rate.cpu_ms:.2f} ms", *ratios])
    return table(["", "requests per second", "CPU time per request", "stage 1 in comparison"], rows)


def _memory_verdict(memory_mb: dict[int, float]) -> str:
    counts = list(memory_mb)
    before, after = counts[-2], counts[-1]
    growth = memory_mb[after] - memory_mb[before]
    per_answer = growth * 1000 / (after - before)
    verdict = "does not grow with the number of answers" if per_answer < 1 else "**grows with the number of answers**"
    return (
        f"The last {after - before:,} answers added {growth:+.1f} MB, or {per_answer:.2f} kB each: memory {verdict} "
        "(leaking even the smallest answer would add more than 1 kB each)."
    )
