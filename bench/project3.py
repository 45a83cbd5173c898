"""The benchmark of stage 3: searches in a large index beside their bare statements, and ingestion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.databases import postgresql, server_version
from bench.project3_index import LIMIT, POOL_SIZE, K
from bench.project3_ingestion import BATCH, PAUSE_SECONDS, Ingestion, IngestionPlan, Searches, measure_ingestion
from bench.project3_scale import GRAPH, Filtered, Scale, ScalePlan, Side, Words, measure_scale
from bench.rates import CONNECTIONS
from bench.report import aims, conditions, noise, table, template
from bench.servers import others_at_work


@dataclass(frozen=True)
class Plan:
    """The extent of both parts."""

    scale: ScalePlan
    ingestion: IngestionPlan


FULL = Plan(
    ScalePlan(
        documents=1000,
        chunks_per_document=100,
        questions=200,
        rounds=4,
        seconds=2.0,
        samples=120,
        searches=5000,
    ),
    IngestionPlan(rounds=2, chunks=96, quiet_seconds=15.0, large_chunks=160),
)
# Documents of ten chunks, so that 0.1 % of the documents is one.
QUICK = Plan(
    ScalePlan(
        documents=1000,
        chunks_per_document=10,
        questions=50,
        rounds=1,
        seconds=0.5,
        samples=20,
        searches=160,
    ),
    IngestionPlan(rounds=1, chunks=16, quiet_seconds=2.0, large_chunks=32),
)


@dataclass(frozen=True)
class Figures:
    """All results.

    Attributes:
        others_busy: Share of all cores' time that other processes used.
    """

    postgres: str
    scale: Scale
    ingestion: Ingestion
    others_busy: float


async def measure(plan: Plan) -> Figures:
    """Run both parts, one after the other."""
    with others_at_work() as others:
        async with postgresql() as server:
            version = server_version(server)
            scale = await measure_scale(plan.scale, server)
            ingestion = await measure_ingestion(plan.ingestion, server)
    return Figures(version, scale, ingestion, others.busy)


PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "pydantic",
    "sqlalchemy",
    "sqlmodel",
    "psycopg",
    "pgvector",
    "langchain-openai",
    "procrastinate",
    "xllamacpp",
)
_FLAT_MB = 2.0


def section(plan: Plan, figures: Figures) -> str:
    """Return stage 3's section of README.md."""
    scale, ingestion = figures.scale, figures.ingestion
    return template("project3").format(
        conditions=conditions("project3", PACKAGES),
        postgres=figures.postgres,
        noise=noise(figures.others_busy),
        aims=_aims(scale, ingestion),
        chunks=plan.scale.documents * plan.scale.chunks_per_document,
        documents=plan.scale.documents,
        chunks_per_document=plan.scale.chunks_per_document,
        load_seconds=scale.load_seconds,
        k=K,
        graph=GRAPH,
        limit=LIMIT,
        questions=plan.scale.questions,
        pool=POOL_SIZE,
        rounds=plan.scale.rounds,
        seconds=plan.scale.seconds,
        connections=CONNECTIONS,
        searches=_searches(scale.searches),
        parts=table(["", *scale.parts_ms], [["ms", *(f"{ms:.2f}" for ms in scale.parts_ms.values())]]),
        recall=table(
            ["", f"recall@{K}", "ms"],
            [[name, f"{recall:.3f}", f"{scale.meaning_ms[name]:.1f}"] for name, recall in scale.recall.items()],
        ),
        filters=_filters(scale.filters),
        rule=_rule(scale.filters),
        found="; ".join(
            f"{one.complete} of {one.asked} searches in {one.share:.1%} of the documents gave all of the {K} hits"
            for one in scale.found
        ),
        words=_words(scale.words),
        memory=table(
            ["searches", *(f"{searches:,}" for searches in scale.memory_mb)],
            [["MB", *(f"{megabytes:.1f}" for megabytes in scale.memory_mb.values())]],
        ),
        file_chunks=plan.ingestion.chunks,
        batch=BATCH,
        ingestion_rounds=plan.ingestion.rounds,
        ingestion=_ingestion(ingestion),
        pause=PAUSE_SECONDS * 1000,
        quiet_seconds=plan.ingestion.quiet_seconds,
        large_chunks=plan.ingestion.large_chunks,
        meanwhile=_meanwhile(ingestion),
    )


def _aims(scale: Scale, ingestion: Ingestion) -> str:
    rows: list[tuple[str, str, str, bool]] = []
    for clients, side in scale.searches.items():
        for percent in (50, 95):
            ratio = side.service.times.ratio_to(side.bare, percent)
            title = f"a search against its statements alone, {_clients(clients)}, p{percent}"
            rows.append((title, "≤ 2 times", f"{ratio:.2f} times", ratio <= 2))
    recall = min(scale.recall.values())
    rows.append((f"lowest recall@{K} of vector searches", "≥ .98", f"{recall:.3f}", recall >= 0.98))
    for one in scale.filters:
        if one.share in (0.01, 0.001):
            title = f"recall@{K} of vector searches in {one.share:.1%} of the documents"
            rows.append((title, "≥ .99", f"{one.recall:.3f}", one.recall >= 0.99))
    asked, complete = sum(one.asked for one in scale.found), sum(one.complete for one in scale.found)
    rows.append((f"searches in these that give {K} hits", "all", f"{complete} of {asked}", complete == asked))
    growth = _growth(scale.memory_mb)
    title = f"memory added by the last {_last(scale.memory_mb):,} searches"
    rows.append((title, f"≤ {_FLAT_MB:g} MB", f"{growth:+.1f} MB", growth <= _FLAT_MB))
    speed = ingestion.service.ratio_to(ingestion.model)
    rows.append(("ingestion, against the model alone", "≥ 85 %", f"{speed:.0%}", speed >= 0.85))
    longer = ingestion.searches.times_as_long(95)
    rows.append(("a search during ingestion, p95", "≤ 5 times", f"{longer:.1f} times", longer <= 5))
    return aims(rows)


def _clients(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


def _growth(memory_mb: Mapping[int, float]) -> float:
    *_, before, after = memory_mb.values()
    return after - before


def _last(memory_mb: Mapping[int, float]) -> int:
    *_, before, after = memory_mb
    return after - before


def _searches(searches: Mapping[int, Side]) -> str:
    rows = []
    for clients, side in searches.items():
        rate = side.service
        rows.append(
            [
                _clients(clients),
                rate.times.pair(95, 1),
                side.bare.pair(95, 1),
                " / ".join(f"{rate.times.ratio_to(side.bare, percent):.2f}" for percent in (50, 95)),
                f"{median(rate.per_second):,.0f}",
                f"{rate.cpu_ms:.1f} ms",
            ]
        )
    head = ["ms, p50 / p95", "stage 3", "bare", "times as long", "searches per second", "CPU time of the service"]
    return table(head, rows)


def _filters(filters: Sequence[Filtered]) -> str:
    rows = [
        [
            f"{one.share:.1%}",
            f"{one.chunks:,}",
            f"{one.compared_ms:.1f}",
            f"{one.walked_ms:.1f}",
            f"`{one.walked_by}`",
            f"{one.ended_early:.0%}",
            f"{one.walk_recall:.3f}",
            "compares" if one.compares else "walks",
            f"{one.recall:.3f}",
        ]
        for one in filters
    ]
    head = ["documents", "chunks", "compared", "walked", "index", "too short", "its recall", "the service", "recall"]
    return table(head, rows)


def _rule(filters: Sequence[Filtered]) -> str:
    walked = [one for one in filters if one.walked_by == GRAPH]
    faster = [one.chunks for one in filters if one.compared_ms <= one.walked_ms]
    slower = [one.chunks for one in walked if one.compared_ms > one.walked_ms]
    wrong = [one for one in walked if one.compares != (one.compared_ms <= one.walked_ms)]
    if not faster or not slower:
        return "One way was the faster one for every part of the documents."
    lost = max((abs(one.compared_ms - one.walked_ms) for one in wrong), default=0)
    return (
        f"Comparing was the faster way for {max(faster):,} chunks at most, and walking for {min(slower):,} at least; "
        f"where the graph was walked, the service chose the slower way for {len(wrong)} of {len(walked)} sizes, and "
        f"lost {lost:.1f} ms at most."
    )


def _words(words: Sequence[Words]) -> str:
    rows = [[one.what, f"{one.postings:,}", f"{one.ms:.1f}", one.read, f"{one.fetched:,}"] for one in words]
    return table(["", "postings", "ms", "read by", "looked up"], rows)


def _ingestion(ingestion: Ingestion) -> str:
    rows = [
        ["stage 3", f"{median(ingestion.service.per_second):.1f}", f"{ingestion.service.seconds:.0f} s"],
        ["the model alone", f"{median(ingestion.model.per_second):.1f}", f"{ingestion.model.seconds:.0f} s"],
    ]
    return table(["", "chunks per second", "measured for"], rows)


def _meanwhile(ingestion: Ingestion) -> str:
    sides = {"search": ingestion.searches, "question embedded": ingestion.questions}
    return table(["", "quiet", "during ingestion", "times as long (p95)", "samples"], map(_row, sides.items()))


def _row(side: tuple[str, Searches]) -> list[str]:
    title, seen = side
    samples = " / ".join(f"{sum(map(len, times.rounds)):,}" for times in (seen.quiet, seen.busy))
    return [title, seen.quiet.pair(95, 1), seen.busy.pair(95, 1), f"{seen.times_as_long(95):.1f}", samples]
