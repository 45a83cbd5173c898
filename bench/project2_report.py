"""The words around the figures of stage 2."""

from statistics import median

from bench.databases import given_server
from bench.project2 import PAGE, POOL_SIZE, PREFIX, PROBE_PAUSE_SECONDS, Figures, Health, Plan
from bench.rates import CONNECTIONS, Rate, Times
from bench.report import aims, conditions, noise, table

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

_TEMPLATE = """\
## Stage 2: users on PostgreSQL

{conditions}
PostgreSQL {postgres}. {noise}

{aims}

### Requests a second

Stage 2 as it is served, and beside it psycopg alone (`bare_users.py`): word for word the statement that SQLAlchemy
sends, in a Starlette route that answers with JSON of the same shape. The same uvicorn settings (uvloop, httptools), the
same PostgreSQL with {few:,} users, {pool} database connections each, {connections} connections kept open by one client,
in {rounds} rounds of {seconds:g} s in which the servers take turns. Ratios are medians of the ratios within a round.
The bare route has no validation, log line, request id, body limit or `ETag`, no unit of work, and no check that a
pooled connection is alive. *Bare* sends the statement alone, as stage 2 does where it only reads; *bare, transaction*
sends BEGIN and COMMIT around it, which are two more trips to PostgreSQL.

{reads}

The processor time is that of the server alone, without PostgreSQL's; client, server and PostgreSQL share the cores of
the machine. What lies between stage 2 and the bare route is FastAPI (routes, dependencies, the answer) and SQLAlchemy
(the ORM and its pool), in about equal parts.

### Making users

`POST /users`, in {creation_rounds} rounds of {creation_seconds:g} s. *Bare* hashes the password as stage 2 does, with
the same Argon2id in a thread; *bare, no hash* stores a text of the same length, so it shows what the statement costs.
Every e-mail is new.

{creations}

{hash_cost}

### `/health` while passwords are hashed

One probe at a time, {pause:g} ms after the answer to the one before, while nothing else is asked, and while
{connections} connections make users without a pause ({hashed:,.0f} a second); by turns, in {health_rounds} rounds of
{health_seconds:g} s. The *bystander* is a bare server that is asked at the same time and does nothing else: what it
suffers is due to the cores, which are all busy, and not to the service's event loop. Milliseconds, p50 / p99:

{health}

*Times as long* is the median of the ratios of the rounds' p99.

### Pages of few and of many users

Two services, one on a database of {few:,} users and one on a database of {many:,}, asked in turn by one connection,
one request at a time, in {page_rounds} rounds of {page_seconds:g} s. `GET /users?limit={page}`: the first page, the
page that follows the user in the middle by its cursor, and with `q={prefix}`, which begins ten e-mails in both. p50:

{pages}

*Times as long* is the median of the ratios of the rounds' p50.
"""


def section(plan: Plan, figures: Figures) -> str:
    """Write stage 2's section of README.md."""
    return _TEMPLATE.format(
        conditions=conditions("project2", PACKAGES),
        postgres=figures.postgres + (", whose work counts as that of others" if given_server() else ", embedded"),
        noise=noise(figures.others_busy),
        aims=_aims(plan, figures),
        reads=_reads(figures.reads),
        creations=_creations(figures.creations),
        hash_cost=_hash_cost(figures.creations),
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
    health = _delay(figures.health)
    rows.append(("`/health`, p99 while passwords are hashed", "≤ 3 times", f"{health:.1f} times", health <= 3))
    for name, rates_by_size in figures.pages.items():
        growth = _growth(plan, rates_by_size)
        title = f"{name}, {plan.many:,} users against {plan.few:,}, p50"
        rows.append((title, "≤ 1.5 times", f"{growth:.2f} times", growth <= 1.5))
    return aims(rows)


def _spread(times: Times) -> float:
    return times.percentile(99) / times.percentile(50)


def _delay(health: Health) -> float:
    return health.hashing.service.ratio_to(health.quiet.service, 99)


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
    return table(["", "requests a second", "p50 / p99 in ms", "processor time for one", "stage 2 reaches of it"], rows)


def _row(title: str, rate: Rate, ratio: str) -> list[str]:
    return [title, f"{median(rate.per_second):,.0f}", _pair(rate.times), f"{rate.cpu_ms:.2f} ms", ratio]


def _pair(times: Times) -> str:
    return f"{times.percentile(50):.2f} / {times.percentile(99):.2f}"


def _hash_cost(rates: dict[str, Rate]) -> str:
    one = rates["hashing"].cpu_ms - rates["hashless"].cpu_ms
    return f"A hash takes {one:.0f} ms of processor time, so no core makes more than {1000 / one:.0f} users a second."


def _health(health: Health) -> str:
    sides = {
        "stage 2": (health.quiet.service, health.hashing.service),
        "bystander": (health.quiet.bystander, health.hashing.bystander),
    }
    rows = [
        [
            title,
            _pair(quiet),
            _pair(hashing),
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
