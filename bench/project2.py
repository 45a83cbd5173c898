"""The benchmark of stage 2: throughput beside its bare statements, the effect of hashing, and large tables."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count, cycle, repeat
from statistics import median
from time import perf_counter
from uuid import UUID

import psycopg

from bench.client import Connection, UnexpectedAnswer, get, post
from bench.databases import migrated_database, postgresql, server_version
from bench.project2_peer import HEALTH, READ, peers_table, rates_beside_peers, times_as_fast
from bench.rates import CONNECTIONS, Rate, Times, ask_for, rates_of
from bench.report import aims, conditions, noise, table, template
from bench.servers import Server, others_at_work, running
from project2_user_mgmt.settings import Settings
from shared.pagination import encode_cursor

PACKAGE = "project2_user_mgmt"
POOL_SIZE = int(Settings.model_fields["db_pool_size"].default)
PAGE = 20
PREFIX = "user000005"  # matches ten of the e-mails that `_FILL` creates, for any number of users from 60
PROBE_PAUSE_SECONDS = 0.005

_NO_MODEL = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "LLM_MODEL": "none"}  # never called here
# Users with ids like UUIDv7: a timestamp, one user per millisecond, then unpredictable digits.
_FILL = """
INSERT INTO users (id, email, name, password_hash, version, created_at, updated_at)
SELECT (lpad(to_hex(1767225600000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3)
           || '8' || substr(md5(n::text), 4, 15))::uuid,
       'user' || lpad(n::text, 7, '0') || '@example.com', 'User ' || n, repeat('-', 97), 1, now(), now()
FROM generate_series(1, %s::integer) AS n
"""


@dataclass(frozen=True)
class Plan:
    """The extent of the benchmark.

    Attributes:
        read_rounds: Rounds in which every server is read for `read_seconds`.
        creation_rounds: Rounds in which users are created on every server for `creation_seconds`.
        health_rounds: Rounds in which `/health` is probed for `health_seconds` while idle, and while hashing.
        page_rounds: Rounds in which pages of both databases are read for `page_seconds`.
    """

    few: int
    many: int
    read_rounds: int
    read_seconds: float
    creation_rounds: int
    creation_seconds: float
    health_rounds: int
    health_seconds: float
    page_rounds: int
    page_seconds: float


FULL = Plan(
    few=1000,
    many=1_000_000,
    read_rounds=10,
    read_seconds=1.0,
    creation_rounds=5,
    creation_seconds=2.0,
    health_rounds=4,
    health_seconds=4.0,
    page_rounds=6,
    page_seconds=0.6,
)
QUICK = Plan(
    few=100,
    many=10_000,
    read_rounds=2,
    read_seconds=0.3,
    creation_rounds=1,
    creation_seconds=1.0,
    health_rounds=1,
    health_seconds=1.0,
    page_rounds=2,
    page_seconds=0.2,
)


@dataclass(frozen=True)
class Probes:
    """Times of `/health` in the service, and at the same moments in a bystander: an idle server."""

    service: Times = field(default_factory=Times)
    bystander: Times = field(default_factory=Times)


@dataclass(frozen=True)
class Health:
    """The results of the probes: while the service was idle, and while users were created."""

    quiet: Probes = field(default_factory=Probes)
    hashing: Probes = field(default_factory=Probes)
    creations: Rate = field(default_factory=Rate)


@dataclass(frozen=True)
class Figures:
    """All results.

    Attributes:
        reads: By request, then by server: `service`, `bare`, `transaction`.
        creations: `POST /users`, by server: `service`, `hashing`, `hashless`.
        peers: By request, then by server: `service`, `guarded`, `plain`.
        pages: By request, then by the number of users; one connection.
        others_busy: Share of all cores' time that other processes used.
    """

    postgres: str
    reads: dict[str, dict[str, Rate]]
    creations: dict[str, Rate]
    peers: dict[str, dict[str, Rate]]
    health: Health
    pages: dict[str, dict[int, Rate]]
    others_busy: float


async def measure(plan: Plan) -> Figures:
    """Run all parts, one after another."""
    with others_at_work() as others:
        async with postgresql() as server:
            version = server_version(server)
            with migrated_database(server, "bench", PACKAGE) as address:
                environment = _environment(address)
                ids = _fill(address, plan.few)
                with (
                    running(PACKAGE, environment=environment) as service,
                    running("bench.bare_users", "hashing", environment=environment) as hashing,
                    running("bench.bare_users", "hashless", environment=environment) as hashless,
                    running("bench.bare_users", "transaction", environment=environment) as transaction,
                ):
                    servers = {"service": service, "bare": hashless, "transaction": transaction}
                    reads = await rates_of_reads(plan, servers, ids)
                    users = _new_users()
                    creations = await rates_of(
                        {"service": service, "hashing": hashing, "hashless": hashless},
                        users,
                        rounds=plan.creation_rounds,
                        seconds=plan.creation_seconds,
                        connections=CONNECTIONS,
                    )
                    peers = await rates_beside_peers(
                        service, environment, ids, users, plan.read_rounds, plan.read_seconds
                    )
                    health = await health_while_hashing(plan, service, hashless, users)
            pages = await pages_by_size(plan, server)
    return Figures(version, reads, creations, peers, health, pages, others.busy)


async def rates_of_reads(plan: Plan, servers: Mapping[str, Server], ids: list[UUID]) -> dict[str, dict[str, Rate]]:
    """Measure reading one user after another, and reading the first page repeatedly."""
    requests = {
        "GET /users/{id}": cycle([get(f"/users/{one}") for one in ids]),
        f"GET /users?limit={PAGE}": repeat(get(f"/users?limit={PAGE}")),
    }
    return {
        name: await rates_of(
            servers, asked, rounds=plan.read_rounds, seconds=plan.read_seconds, connections=CONNECTIONS
        )
        for name, asked in requests.items()
    }


async def health_while_hashing(plan: Plan, service: Server, bystander: Server, users: Iterator[bytes]) -> Health:
    """Probe `/health` of two servers, alternating between idle rounds and rounds in which one creates users."""
    health = Health()
    for _ in range(plan.health_rounds):
        await _probe(plan.health_seconds, health.quiet, service, bystander)
        await asyncio.gather(
            ask_for(plan.health_seconds, service, users, health.creations, connections=CONNECTIONS),
            _probe(plan.health_seconds, health.hashing, service, bystander),
        )
    return health


async def _probe(seconds: float, probes: Probes, service: Server, bystander: Server) -> None:
    async def keep_asking(server: Server, times: Times) -> None:
        connection = await Connection.open(server.port)
        seen: list[float] = []
        started = perf_counter()
        while (asked := perf_counter()) - started < seconds:
            await connection.exchange(get("/health"))
            seen.append((perf_counter() - asked) * 1000)
            await asyncio.sleep(PROBE_PAUSE_SECONDS)
        times.rounds.append(seen)
        connection.close()

    await asyncio.gather(keep_asking(service, probes.service), keep_asking(bystander, probes.bystander))


async def pages_by_size(plan: Plan, postgres: str) -> dict[str, dict[int, Rate]]:
    """Measure one service per database size in turn, one request at a time."""
    with ExitStack() as stack:
        services: dict[int, Server] = {}
        middles: dict[int, str] = {}
        for users in (plan.few, plan.many):
            address = stack.enter_context(migrated_database(postgres, f"bench_{users}", PACKAGE))
            ids = _fill(address, users)
            middles[users] = encode_cursor(ids[users // 2])
            services[users] = stack.enter_context(running(PACKAGE, environment=_environment(address)))
        return {
            "first page": await _page_times(plan, services, dict.fromkeys(services, ""), items=PAGE),
            "page in the middle": await _page_times(
                plan, services, {users: f"&cursor={cursor}" for users, cursor in middles.items()}, items=PAGE
            ),
            "10 found by a prefix": await _page_times(
                plan, services, dict.fromkeys(services, f"&q={PREFIX}"), items=10
            ),
        }


async def _page_times(
    plan: Plan, services: Mapping[int, Server], parameters: Mapping[int, str], *, items: int
) -> dict[int, Rate]:
    requests = {users: get(f"/users?limit={PAGE}{parameters[users]}") for users in services}
    for users, service in services.items():
        await _expect_items(service, requests[users], items)
        await ask_for(plan.page_seconds, service, repeat(requests[users]), Rate(), connections=1)
    rates = {users: Rate() for users in services}
    for _ in range(plan.page_rounds):
        for users, service in services.items():
            await ask_for(plan.page_seconds, service, repeat(requests[users]), rates[users], connections=1)
    return rates


async def _expect_items(service: Server, request: bytes, items: int) -> None:
    connection = await Connection.open(service.port)
    found = len(json.loads(await connection.exchange(request))["items"])
    connection.close()
    if found != items:
        raise UnexpectedAnswer(f"{found} items of {items}")


def _environment(address: str) -> dict[str, str]:
    return {"APP_ENV": "production", "DATABASE_URL": address, "DB_POOL_SIZE": str(POOL_SIZE), **_NO_MODEL}


def _fill(address: str, users: int) -> list[UUID]:
    """Create users, and return their ids in order. VACUUM runs now, so that autovacuum does not disturb."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(_FILL, [users])
        connection.execute("VACUUM (ANALYZE) users")
        return [row[0] for row in connection.execute("SELECT id FROM users ORDER BY id")]


def _new_users() -> Iterator[bytes]:
    for number in count():
        email = f"new{number}@example.com"
        yield post("/users", {"email": email, "name": "Ada Lovelace", "password": "correct horse battery staple"})


PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "pydantic",
    "sqlalchemy",
    "sqlmodel",
    "psycopg",
    "pwdlib",
    "argon2-cffi",
)


def section(plan: Plan, figures: Figures) -> str:
    """Return stage 2's section of README.md."""
    return template("project2").format(
        conditions=conditions("project2", PACKAGES),
        postgres=figures.postgres,
        noise=noise(figures.others_busy),
        aims=_aims(plan, figures),
        reads=_reads(figures.reads),
        creations=_creations(figures.creations),
        hash_cost=_hash_cost(figures.creations),
        peers=peers_table(figures.peers),
        health=_health(figures.health),
        hashed=median(figures.health.creations.per_second),
        pages=_pages(plan, figures.pages),
        few=plan.few,
        many=plan.many,
        pool=POOL_SIZE,
        connections=CONNECTIONS,
        rounds=plan.read_rounds,
        seconds=plan.read_seconds,
        creation_rounds=plan.creation_rounds,
        creation_seconds=plan.creation_seconds,
        pause=PROBE_PAUSE_SECONDS * 1000,
        health_rounds=plan.health_rounds,
        health_seconds=plan.health_seconds,
        page_rounds=plan.page_rounds,
        page_seconds=plan.page_seconds,
        page=PAGE,
        prefix=PREFIX,
    )


def _aims(plan: Plan, figures: Figures) -> str:
    rows: list[tuple[str, str, str, bool]] = []
    for name, rates in figures.reads.items():
        ratio = rates["service"].ratio_to(rates["bare"])
        rows.append((f"`{name}` against its statement by psycopg alone", "≥ 50 %", f"{ratio:.0%}", ratio >= 0.5))
    for name, rates in figures.reads.items():
        spread = _spread(rates["service"].times)
        rows.append((f"`{name}`, p99 against p50", "≤ 5 times", f"{spread:.1f} times", spread <= 5))
    for name in (READ, HEALTH):
        ratio = times_as_fast(figures.peers[name], "guarded")
        rows.append((f"`{name}` against the documented service", "≥ 1.5 times", f"{ratio:.2f} times", ratio >= 1.5))
    health = figures.health.hashing.service.ratio_to(figures.health.quiet.service, 99)
    rows.append(("`/health`, p99 while passwords are hashed", "≤ 3 times", f"{health:.1f} times", health <= 3))
    for name, rates_by_size in figures.pages.items():
        growth = _growth(plan, rates_by_size)
        title = f"{name}, {plan.many:,} users against {plan.few:,}, p50"
        rows.append((title, "≤ 1.5 times", f"{growth:.2f} times", growth <= 1.5))
    return aims(rows)


def _spread(times: Times) -> float:
    return times.percentile(99) / times.percentile(50)


def _growth(plan: Plan, rates: dict[int, Rate]) -> float:
    return rates[plan.many].times.ratio_to(rates[plan.few].times, 50)


def _reads(reads: dict[str, dict[str, Rate]]) -> str:
    rows = []
    for name, rates in reads.items():
        rows.append(_row(f"`{name}`, stage 2", rates["service"], ""))
        for bare, title in {"bare": "bare", "transaction": "bare, transaction"}.items():
            rows.append(_row(f"`{name}`, {title}", rates[bare], f"{rates['service'].ratio_to(rates[bare]):.0%}"))
    return _rates(rows)


def _creations(rates: dict[str, Rate]) -> str:
    titles = {"service": "stage 2", "hashing": "bare", "hashless": "bare, no hash"}
    ratios = {"hashing": f"{rates['service'].ratio_to(rates['hashing']):.0%}"}
    return _rates(
        [_row(f"`POST /users`, {title}", rates[name], ratios.get(name, "")) for name, title in titles.items()]
    )


def _rates(rows: list[list[str]]) -> str:
    return table(["", "requests per second", "p50 / p99 in ms", "CPU time per request", "stage 2 in comparison"], rows)


def _row(title: str, rate: Rate, ratio: str) -> list[str]:
    return [title, f"{median(rate.per_second):,.0f}", rate.times.pair(99, 2), f"{rate.cpu_ms:.2f} ms", ratio]


def _hash_cost(rates: dict[str, Rate]) -> str:
    one = rates["hashing"].cpu_ms - rates["hashless"].cpu_ms
    return f"A hash takes {one:.0f} ms of processor time, so a core creates at most {1000 / one:.0f} users a second."


def _health(health: Health) -> str:
    sides = {
        "stage 2": (health.quiet.service, health.hashing.service),
        "bystander": (health.quiet.bystander, health.hashing.bystander),
    }
    rows = [
        [
            title,
            quiet.pair(99, 2),
            hashing.pair(99, 2),
            f"{hashing.ratio_to(quiet, 99):.1f}",
            f"{_samples(quiet):,} / {_samples(hashing):,}",
        ]
        for title, (quiet, hashing) in sides.items()
    ]
    return table(["", "quiet", "hashing", "times as long", "samples"], rows)


def _samples(times: Times) -> int:
    return sum(map(len, times.rounds))


def _pages(plan: Plan, pages: dict[str, dict[int, Rate]]) -> str:
    rows = [
        [
            name,
            *(f"{rates[users].times.percentile(50):.2f} ms" for users in (plan.few, plan.many)),
            f"{_growth(plan, rates):.2f}",
        ]
        for name, rates in pages.items()
    ]
    return table(["", f"{plan.few:,} users", f"{plan.many:,} users", "times as long"], rows)
