"""Writes down what was measured of stage 4."""

from statistics import median

from bench.graphs.echo import EVENTS
from bench.project4 import Measured, Plan
from bench.report import aims, conditions, noise, table

_PACKAGES = ["fastapi", "uvicorn", "uvloop", "langgraph", "langgraph-checkpoint-postgres", "psycopg", "redis", "orjson"]
_ROWS = [
    ("`runs/wait`, one at a time, p50", "wait_ms", "≤ 11 ms", 11.0),
    ("thread + wait, 16 at once", "waits", "≥ 140 /s", 140.0),
    ("thread + stream of 50, 16 at once", "streams", "≥ 140 /s", 140.0),
    ("first event of a stream, p50", "first_event_ms", "≤ 4.5 ms", 4.5),
    ("`POST /threads`, one at a time, p50", "thread_ms", "≤ 1.8 ms", 1.8),
    ("`POST /threads`, 16 at once", "threads", "≥ 700 /s", 700.0),
]


def section(plan: Plan, measured: Measured) -> str:
    """Write the section."""

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
process and one worker: each request is authenticated by a token, each run is a row that a worker claims,
and each event goes through Redis. *Bare* is the same graph in one process with LangGraph's own checkpoint saver behind
a minimal Starlette route (`bare_graph.py`): no rows, no queue, no worker, nobody else who could read its events, no
authentication; its `POST /threads` stores nothing. In {plan.rounds} rounds both take turns; client, servers, PostgreSQL
and Valkey share the machine's cores. Ratios are medians of the ratios within a round.

{table(["", "ours", "bare LangGraph", "ours to bare"], compared)}

Ours with more workers, sixteen at once, all on the same cores:

{table(["workers", "thread + wait", "thread + stream of 50"], by_workers)}
"""
