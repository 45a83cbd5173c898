"""`python -m bench.peers [--quick]`: this service beside others with LangGraph's API, with one client and one graph.

Each peer is installed from PyPI into an environment of its own under `.data/peers`, and runs on the same PostgreSQL and
Valkey, with a database of its own. All servers run at once, and take turns in rounds.
"""

import argparse
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import psutil
import uvloop

from bench.__main__ import PARTS
from bench.databases import empty_database, migrated_database, postgresql, redis
from bench.project4 import PACKAGE, Client, Figures, Plan, measure_round, service, sign_up
from bench.report import conditions, noise, table, write_sections
from bench.servers import Server, others_at_work, running_program

_CACHE = Path(__file__).parent.parent / ".data" / "peers"
OURS = "ours"
_GRAPH = Path(__file__).parent / "graphs" / "echo.py"
_OLDEST = (3, 12)  # Python, for the peers
_PLAN = Plan(samples=30, rounds=4, seconds=3.0, workers=())
_QUICK = Plan(samples=5, rounds=1, seconds=0.5, workers=())
_CONCURRENCY = 20  # runs at once, as a worker of ours by default


@dataclass(frozen=True)
class Peer:
    """A server to compare with.

    Attributes:
        package: The requirement that pip installs.
        command: Arguments of the environment's Python; `{port}` and `{config}` are replaced.
        variables: Environment variables; `{database}`, `{redis}` and `{config}` are replaced.
        health: A path that is answered as soon as the server is ready.
    """

    name: str
    package: str
    command: Sequence[str]
    variables: Mapping[str, str]
    health: str

    @property
    def folder(self) -> Path:
        """The environment, which peers with the same package share."""
        return _CACHE / re.sub(r"\W+", "-", self.package)

    @property
    def python(self) -> Path:
        """The Python of the environment."""
        return (self.folder / "bin" / "python").absolute()


_AEGRA = Peer(
    "aegra, in process",
    "aegra-api==0.11.0",
    ("-m", "uvicorn", "aegra_api.main:app", "--host", "127.0.0.1", "--port", "{port}"),
    {
        "AEGRA_CONFIG": "{config}",
        "DATABASE_URL": "{database}",
        "ENV_MODE": "PRODUCTION",
        "LOG_LEVEL": "WARNING",
    },
    "/health",
)
PEERS = [
    _AEGRA,
    replace(
        _AEGRA,
        name="aegra, workers on Redis",
        variables={
            **_AEGRA.variables,
            "REDIS_BROKER_ENABLED": "true",
            "REDIS_URL": "{redis}",
            "WORKER_COUNT": "2",
            "N_JOBS_PER_WORKER": f"{_CONCURRENCY // 2}",
        },
    ),
    Peer(
        "langhost",
        "langhost==0.11.1.post1",
        (
            *("-m", "langhost.cli", "serve", "--port", "{port}", "--config", "{config}", "--allow-blocking"),
            *("--n-jobs-per-worker", f"{_CONCURRENCY}", "--server-log-level", "WARNING"),
        ),
        {"DATABASE_URI": "{database}", "REDIS_URI": "{redis}", "LOG_LEVEL": "WARNING"},
        "/ok",
    ),
]


def find_python() -> str:
    """Return a Python that the peers run on.

    Raises:
        SystemExit: if there is none.
    """
    names = [f"python3.{minor}" for minor in (12, 13, 14)]
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.1[2-4]*/bin/python"))
    for program in [*filter(None, map(shutil.which, names)), *map(str, pyenv)]:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        if (found := re.match(r"Python (\d+)\.(\d+)", shown)) and tuple(map(int, found.groups())) >= _OLDEST:
            return program
    raise SystemExit("error: aegra needs Python 3.12 or newer, and none is on PATH or in ~/.pyenv/versions")


def install(peer: Peer) -> str:
    """Install a peer, unless it is, and return the versions of its packages for the report."""
    if not (installed := peer.folder / "installed").exists():
        print(f"installing {peer.package} …", flush=True)
        shutil.rmtree(peer.folder, ignore_errors=True)
        subprocess.run([find_python(), "-m", "venv", peer.folder], check=True)
        subprocess.run([peer.python, "-m", "pip", "install", "--quiet", peer.package], check=True)
        installed.touch()
    shown = subprocess.run([peer.python, "-m", "pip", "list", "--format=json"], capture_output=True, check=True).stdout
    versions = {package["name"]: package["version"] for package in json.loads(shown)}
    name = peer.package.partition("=")[0]
    beneath = [f"{each} {versions[each]}" for each in ("langgraph", "langgraph-api", "fastapi") if each in versions]
    return f"{name} {versions[name]} with {', '.join(beneath)}"


@contextmanager
def running_peer(peer: Peer, database: str, redis_url: str) -> Iterator[Server]:
    """Run a peer while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    config = (peer.folder / "langgraph.json").absolute()
    config.write_text(json.dumps({"dependencies": ["."], "graphs": {"echo": f"{_GRAPH}:graph"}}))
    values = {"port": port, "config": config, "database": database, "redis": redis_url}
    command = [str(peer.python), *(part.format(**values) for part in peer.command)]
    environment = {name: text.format(**values) for name, text in peer.variables.items()}
    with running_program(command, port, environment, health=peer.health) as server:
        yield server


async def measure(plan: Plan) -> tuple[dict[str, Figures], float]:
    """Measure all servers in turn; return their figures, and the share of CPU time that other processes used."""
    with others_at_work() as others:
        async with postgresql() as server, redis() as redis_url:
            databases = psutil.Process().children()
            with ExitStack() as started:
                url = started.enter_context(migrated_database(server, "bench_ours", PACKAGE))
                ours, (worker,) = started.enter_context(service(url, redis_url, 1))
                processes = [ours.process, worker.process, *databases]
                clients = {OURS: Client(ours, await sign_up(ours), processes)}
                for number, peer in enumerate(PEERS, 1):
                    own = started.enter_context(empty_database(server, f"bench_peer_{number}"))
                    own_redis = urlsplit(redis_url)._replace(path=f"/{number}").geturl()
                    running = started.enter_context(running_peer(peer, own, own_redis))
                    clients[peer.name] = Client(running, None, [running.process, *databases])
                figures = {name: Figures() for name in clients}
                for client in clients.values():
                    await measure_round(client, Plan(5, 1, 0.5, ()), Figures())  # warm-up
                for _ in range(plan.rounds):
                    for name, client in clients.items():
                        await measure_round(client, plan, figures[name])
    return figures, others.busy


_ROWS = {
    "waits": "thread + wait, 16 at once",
    "streams": "thread + stream of 50, 16 at once",
    "threads": "`POST /threads`, 16 at once",
    "wait_ms": "`runs/wait`, one at a time, p50",
    "first_event_ms": "first event of a stream, p50",
    "thread_ms": "`POST /threads`, one at a time, p50",
    "wait_cpu_ms": "CPU time of thread + wait, databases included",
}


def section(plan: Plan, figures: Mapping[str, Figures], versions: Sequence[str], others_busy: float) -> str:
    """Return the section of README.md."""
    ours = figures[OURS]

    def shown(name: str, what: str) -> str:
        value = median(getattr(figures[name], what))
        return f"{value:.1f} ms" if what.endswith("_ms") else f"{value:,.0f} /s"

    def times(name: str, what: str) -> str:
        """Return how many times as good ours is."""
        other = figures[name]
        ratio = other.ratio_to(ours, what) if what.endswith("_ms") else ours.ratio_to(other, what)
        return f"{ratio:.1f} x"

    measured = [[row, *(shown(name, what) for name in figures)] for what, row in _ROWS.items()]
    compared = [[row, *(times(peer.name, what) for peer in PEERS)] for what, row in _ROWS.items()]
    return f"""\
## Stage 4 beside others

{conditions("peers", ["fastapi", "langgraph", "psycopg", "redis"]).replace("python -m bench peers", "make bench-peers")}
{noise(others_busy)}

`make bench-peers` installs the others from PyPI and measures again: {"; ".join(versions)}.
Each serves the graph of `bench/graphs/echo.py` to the same client on the same PostgreSQL and Valkey, with a database of
its own and up to {_CONCURRENCY} runs at once, and all take turns in {plan.rounds} rounds. *Ours* is an API process and
one worker, with accounts, rate limits and quotas; the others have no authentication. *In process* means that a run is
lost when its process dies.

{table(["", *figures], measured)}

How many times as good ours is (rates: ours by theirs; times: theirs by ours), as medians of the ratios within a round:

{table(["", *(peer.name for peer in PEERS)], compared)}
"""


def main() -> None:
    """Install, measure and report."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute that writes nothing")
    plan = _QUICK if (quick := parser.parse_args().quick) else _PLAN
    versions = list(dict.fromkeys(map(install, PEERS)))
    figures, others_busy = uvloop.run(measure(plan))
    report = section(plan, figures, versions, others_busy)
    print(report)
    if not quick:
        write_sections({"peers": report}, order=[*PARTS, "peers"])


if __name__ == "__main__":
    main()
