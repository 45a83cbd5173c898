"""Stage 2 beside a peer: the same routes as the documentation of FastAPI and SQLModel writes them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, repeat
from statistics import median
from uuid import UUID

from bench.client import get
from bench.rates import CONNECTIONS, Rate, rates_of
from bench.report import table
from bench.servers import Server, running

READ = "GET /users/{id}"
CREATE = "POST /users"
HEALTH = "GET /health"
TITLES = {"service": "stage 2", "guarded": "documented, with guarantees", "plain": "documented"}


@contextmanager
def running_peers(environment: dict[str, str]) -> Iterator[dict[str, Server]]:
    """Run the peer as documented, and with stage 2's guarantees, while the block runs."""
    with (
        running("bench.documented_users", "plain", environment=environment) as plain,
        running("bench.documented_users", "guarded", environment=environment) as guarded,
    ):
        yield {"guarded": guarded, "plain": plain}


async def rates_beside_peers(
    service: Server,
    environment: dict[str, str],
    ids: Sequence[UUID],
    new_users: Iterator[bytes],
    rounds: int,
    seconds: float,
) -> dict[str, dict[str, Rate]]:
    """Measure stage 2 and its peers in turn; return the rates by request, then by server."""
    requests = {
        READ: cycle([get(f"/users/{one}") for one in ids]),
        HEALTH: repeat(get("/health")),
        CREATE: new_users,
    }
    with running_peers(environment) as peers:
        servers = {"service": service, **peers}
        return {
            name: await rates_of(servers, asked, rounds=rounds, seconds=seconds, connections=CONNECTIONS)
            for name, asked in requests.items()
        }


def times_as_fast(rates: dict[str, Rate], peer: str) -> float:
    """Return how many times as many requests per second stage 2 answers."""
    return rates["service"].ratio_to(rates[peer])


def peers_table(measured: dict[str, dict[str, Rate]]) -> str:
    """Return the report's table."""
    rows = [
        [
            f"`{request}`, {TITLES[server]}",
            f"{median(rate.per_second):,.0f}",
            rate.times.pair(99, 2),
            f"{rate.cpu_ms:.2f} ms",
            "" if server == "service" else f"{times_as_fast(rates, server):.2f} x",
        ]
        for request, rates in measured.items()
        for server, rate in rates.items()
    ]
    return table(["", "requests per second", "p50 / p99 in ms", "CPU time per request", "stage 2 in comparison"], rows)
