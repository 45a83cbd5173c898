"""The words around the figures of stage 1."""

from statistics import median

from bench.bare import HTTP_LIBRARY
from bench.project1 import ASK_SCRIPT, MEMORY_SCRIPT, Figures, Level, Plan, Streams
from bench.rates import CONNECTIONS
from bench.report import aims, conditions, noise, percentile, table

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

_TEMPLATE = """\
## Stage 1: question answering

{conditions}
{noise}

{aims}

### What the service adds to a stream

The same client reads the same stream twice: from the model server itself, and through `POST /ask/stream`. *First token*
is the time from the request to it. *Under way* is the time from the model server's sending of a token, whose text is
the clock at that moment, to its receipt. Streams begin one after another, spread evenly over the length of one, and
each client opens its next when one ends; so what counts is measured with that many streams open, without a stampede at
the start. Milliseconds, p50 / p99:

{latency}

*Added* is the difference of the two percentiles. The paces are chosen so that about 500 tokens a second flow when
many streams are open: the model server and the client are then far from busy (below), and the direct figures show how
little they add themselves. How much of one core each process used meanwhile:

{load}

### Requests a second

One process each, the same uvicorn settings (uvloop, httptools), {connections} connections kept open by one client, in
{rounds} rounds of {seconds:g} s in which the servers take turns. Ratios are medians of the ratios within a round, so
that a slow minute of the machine falls on both sides. *Bare* is the same route with nothing around it (`bare.py`): no
log line, request id or body limit, no watch for a client that went away, no history, no deadline or retries, no
LangChain; it asks the model with a plain `{http_library}` client. The model answers `/ask` at once with {ask_tokens}
tokens, so that what remains is the cost of the service.

{rates}

The processor time is that of the server alone, and says more than the rates: client, server and model server share the
cores of the machine. A real model takes hundreds of times longer than any of this, in which time the service does
something else.

### Memory

Of the service's process, after garbage collection, when it had streamed so many answers of {memory_tokens} tokens,
{connections} at a time, after a warm-up of {warm_up}:

{memory}

{memory_verdict}
"""


def section(plan: Plan, figures: Figures) -> str:
    """Write stage 1's section of README.md."""
    return _TEMPLATE.format(
        conditions=conditions("project1", PACKAGES),
        noise=noise(figures.others_busy),
        aims=_aims(figures),
        latency=_latency(figures.levels),
        load=_load(figures.levels),
        rates=_rates(figures),
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


def _rates(figures: Figures) -> str:
    rows = []
    for path, rates in figures.rates.items():
        for name, rate in rates.items():
            ratios = [f"{rates['service'].ratio_to(rate):.0%}" if name != "service" else ""]
            each = f"{median(rate.per_second):,.0f}"
            rows.append([f"`{path}`, {_NAMES[name]}", each, f"{rate.cpu_ms:.2f} ms", *ratios])
    return table(["", "requests a second", "processor time for one", "stage 1 reaches of it"], rows)


def _memory_verdict(memory_mb: dict[int, float]) -> str:
    counts = list(memory_mb)
    before, after = counts[-2], counts[-1]
    growth = memory_mb[after] - memory_mb[before]
    per_answer = growth * 1000 / (after - before)
    verdict = "does not grow with the number of answers" if per_answer < 1 else "**grows with the number of answers**"
    return (
        f"The last {after - before:,} answers added {growth:+.1f} MB, or {per_answer:.2f} kB each: memory {verdict} "
        "(a leak of the smallest answer would be more than 1 kB each)."
    )
