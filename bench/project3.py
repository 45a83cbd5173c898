"""Stage 3: searching a large index beside the statements that it takes, and taking documents in."""

from dataclasses import dataclass

from bench.databases import postgresql, server_version
from bench.project3_ingestion import Ingestion, IngestionPlan, measure_ingestion
from bench.project3_scale import Scale, ScalePlan, measure_scale
from bench.servers import others_at_work


@dataclass(frozen=True)
class Plan:
    """How much is measured, of each part."""

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
# Documents of ten chunks, so that 0.1 % of them is one.
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
    """All that is measured.

    Attributes:
        postgres: The version of PostgreSQL.
        scale: On a large index.
        ingestion: With the embedded model.
        others_busy: Of all cores, the part of the time that processes other than ours took while we measured.
    """

    postgres: str
    scale: Scale
    ingestion: Ingestion
    others_busy: float


async def measure(plan: Plan) -> Figures:
    """Run everything, one thing after the other."""
    with others_at_work() as others:
        async with postgresql() as server:
            version = server_version(server)
            scale = await measure_scale(plan.scale, server)
            ingestion = await measure_ingestion(plan.ingestion, server)
    return Figures(version, scale, ingestion, others.busy)
