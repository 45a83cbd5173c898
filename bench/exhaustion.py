"""`python -m bench.exhaustion [--minutes 5]`: what strangers within the default limits can do to other users.

Ten accounts of one address each use one way to exhaust the service, as fast as they are admitted: waiting and deferred
runs, histories and copies, large items and pages, large files, schedules, runs with large states, expensive requests.
Other users wait for runs and upload small files meanwhile, and as before. Prints a table, and exits with status 1 if an
aim is missed: the p90 of the others' runs and small files within 3 times, the memory of each process within 1.3 times,
stored bytes within each stranger's quota, `/health` within a second.
"""

import argparse
import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import Any
from uuid import uuid4

import httpx2
import psutil

from bench.databases import migrated_database, postgresql, redis
from bench.project4 import PACKAGE, service
from bench.report import percentile, table
from bench.servers import Server
from tests.support.scripted_model import ScriptedModel

_PASSWORD = "correct horse battery staple"  # noqa: S105  of accounts that this script creates
_MIB = 1024 * 1024
_LARGE_BYTES = 900_000  # a body may have a mebibyte
_QUOTA_MB = 256  # a quarter of the default, so that five minutes reach it
_ADDRESS = "127.0.0.2"  # of the strangers
_DEFAULTS = {  # of the settings that the benchmarks change
    "RATE_LIMIT_PER_MINUTE": "100",
    "USER_STORAGE_MB": str(_QUOTA_MB),
    "LLM_MODEL": "m",
    "EMBEDDING_MODEL": "e",
    "ACCESS_TOKEN_MINUTES": "60",
}
_YEAR = 365 * 24 * 3600
_TALK: dict[str, Any] = {"assistant_id": "echo", "input": {"messages": [{"role": "user", "content": "Hello"}]}}
_LARGE: dict[str, Any] = {
    "assistant_id": "echo",
    "input": {"messages": [{"role": "user", "content": "x" * _LARGE_BYTES}]},
}
_PAUSE_SECONDS = 0.05  # after a refusal
_TOO_LONG_SECONDS = 60.0

Attack = Callable[[httpx2.AsyncClient, int], Awaitable[httpx2.Response]]


async def _wait_in_line(http: httpx2.AsyncClient, number: int) -> httpx2.Response:
    later = {"after_seconds": _YEAR} if number % 2 else {}
    return await http.post("/runs/batch", json=[_TALK | later] * 100)


async def _copy_histories(http: httpx2.AsyncClient, number: int) -> httpx2.Response:
    step = {"updates": [{"values": {"messages": [{"role": "user", "content": "x" * 2000}]}, "as_node": "emit"}]}
    if number % 20 == 0:
        thread = {"metadata": {"graph_id": "echo"}, "supersteps": [step] * 200}
        created = await http.post("/threads", json=thread)
        http.headers["X-Thread"] = created.json().get("thread_id", str(uuid4()))
        return created
    return await http.post(f"/threads/{http.headers['X-Thread']}/copy")


async def _read_histories(http: httpx2.AsyncClient, number: int) -> httpx2.Response:
    if number % 20 == 0:
        return await _copy_histories(http, 0)
    return await http.post(f"/threads/{http.headers['X-Thread']}/history", json={"limit": 1000})


async def _read_items(http: httpx2.AsyncClient, number: int) -> httpx2.Response:
    if number < 60:
        return await http.put(
            "/store/items", json={"namespace": ["a"], "key": str(number), "value": {"x": "y" * _LARGE_BYTES}}
        )
    return await http.post("/store/items/search", json={"namespace_prefix": ["a"], "limit": 1000})


async def _upload_large_files(http: httpx2.AsyncClient, number: int) -> httpx2.Response:
    text = f"{number} " + "A sentence about something that nobody asked for. " * 14_000
    return await http.post("/documents", files={"file": (f"{number}.txt", text.encode(), "text/plain")})


async def _schedule(http: httpx2.AsyncClient, _: int) -> httpx2.Response:
    return await http.post("/runs/crons", json=_TALK | {"schedule": "* * * * *"})


async def _run_large_states(http: httpx2.AsyncClient, number: int) -> httpx2.Response:
    if number % 10 == 0:
        created = await http.post("/threads", json={})
        http.headers["X-Thread"] = created.json().get("thread_id", str(uuid4()))
    return await http.post(f"/threads/{http.headers['X-Thread']}/runs", json=_LARGE)


async def _hash_passwords(http: httpx2.AsyncClient, number: int) -> httpx2.Response:
    if number % 2:
        return await http.post(
            "/auth/register", json={"email": f"{uuid4()}@example.com", "name": "x", "password": _PASSWORD}
        )
    return await http.post("/auth/token", data={"username": f"{uuid4()}@example.com", "password": _PASSWORD})


async def _send_many_values(http: httpx2.AsyncClient, _: int) -> httpx2.Response:
    return await http.post("/threads/search", content=b'{"metadata":{"a":[' + b"[]," * 300_000 + b"[]]}}")


async def _read_documentation(http: httpx2.AsyncClient, number: int) -> httpx2.Response:
    return await http.get(("/openapi.json", "/metrics", "/docs")[number % 3])


_ATTACKS: list[Attack] = [
    _wait_in_line,
    _copy_histories,
    _read_histories,
    _read_items,
    _upload_large_files,
    _schedule,
    _run_large_states,
    _hash_passwords,
    _send_many_values,
    _read_documentation,
]


@dataclass
class Phase:
    """Observations of the other users in a phase.

    Attributes:
        runs: Milliseconds of `runs/wait` of the others.
        files: Milliseconds from the upload of a small file until it is ready.
        health: Milliseconds of `/health`.
        failed: The others' responses that were no success, by kind of request and status.
        memory: The largest resident memory in MB, by process.
    """

    runs: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    memory: dict[str, float] = field(default_factory=dict)


@asynccontextmanager
async def _signed_in(api: Server, address: str) -> Any:  # noqa: ANN401  a client with an account, by address
    transport = httpx2.AsyncHTTPTransport(local_address=address)
    base = f"http://127.0.0.1:{api.port}"
    async with httpx2.AsyncClient(
        base_url=base, transport=transport, timeout=_TOO_LONG_SECONDS, trust_env=False
    ) as http:
        email = f"{uuid4()}@example.com"
        registered = await http.post("/auth/register", json={"email": email, "name": "x", "password": _PASSWORD})
        registered.raise_for_status()
        answer = await http.post("/auth/token", data={"username": email, "password": _PASSWORD})
        http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        yield http


async def _timed(
    milliseconds: list[float], failed: Counter[str], name: str, ask: Callable[[], Awaitable[bool]]
) -> None:
    started = perf_counter()
    try:
        succeeded = await ask()
    except httpx2.HTTPError:
        succeeded = False
    milliseconds.append((perf_counter() - started) * 1000)
    failed[name] += not succeeded


async def _wait_for_run(http: httpx2.AsyncClient) -> bool:
    answer = await http.post("/runs/wait", json=_TALK)
    return answer.status_code == 200 and "__error__" not in answer.json()


async def _ingest(http: httpx2.AsyncClient) -> bool:
    file = {"file": (f"{uuid4()}.txt", f"A short note, {uuid4()}.".encode(), "text/plain")}
    uploaded = await http.post("/documents", files=file)
    give_up = monotonic() + _TOO_LONG_SECONDS
    while uploaded.is_success and monotonic() < give_up:
        document = await http.get(f"/documents/{uploaded.json()['id']}")
        if document.json().get("status") != "processing":
            return bool(document.json().get("status") == "ready")
        await asyncio.sleep(0.5)
    return False


async def observe(
    seconds: float, api: Server, others: list[httpx2.AsyncClient], processes: dict[str, psutil.Process]
) -> Phase:
    """Be the other users for some seconds."""
    phase, ends_at = Phase(), monotonic() + seconds

    async def repeat(pause: float, once: Callable[[], Awaitable[None]]) -> None:
        while monotonic() < ends_at:
            await once()
            await asyncio.sleep(pause)

    async def read_memory() -> None:
        for name, process in processes.items():
            family = [process, *process.children(recursive=True)] if name == "worker" else [process]
            used = sum(each.memory_info().rss for each in family if each.is_running()) / 1e6
            phase.memory[name] = max(used, phase.memory.get(name, 0))

    def asks(http: httpx2.AsyncClient) -> Iterator[Awaitable[None]]:
        yield repeat(1.0, lambda: _timed(phase.runs, phase.failed, "run", lambda: _wait_for_run(http)))
        yield repeat(5.0, lambda: _timed(phase.files, phase.failed, "file", lambda: _ingest(http)))

    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{api.port}", timeout=_TOO_LONG_SECONDS, trust_env=False
    ) as http:

        async def healthy() -> bool:
            return (await http.get("/health")).status_code == 200

        health = repeat(0.2, lambda: _timed(phase.health, phase.failed, "health", healthy))
        await asyncio.gather(health, repeat(0.5, read_memory), *(ask for other in others for ask in asks(other)))
    return phase


async def _attack(http: httpx2.AsyncClient, attack: Attack, answers: Counter[str]) -> None:
    for number in itertools.count():
        try:
            answer = await attack(http, number)
        except httpx2.HTTPError as error:
            answers[f"{attack.__name__[1:]}: {type(error).__name__}"] += 1
            continue
        answers[f"{attack.__name__[1:]}: {answer.status_code}"] += 1
        if answer.is_error:
            await asyncio.sleep(_PAUSE_SECONDS)


async def measure(minutes: float) -> tuple[Phase, Phase, Counter[str], list[int]]:
    """Return what the others saw before and during the attack, the strangers' answers, and the bytes each stores."""
    model = ScriptedModel()
    async with AsyncExitStack() as started:
        started.callback(model.close)
        server = await started.enter_async_context(postgresql())
        redis_url = await started.enter_async_context(redis())
        databases = psutil.Process().children()
        url = started.enter_context(migrated_database(server, "bench_exhaustion", PACKAGE))
        addresses = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "unused"}
        api, [worker] = started.enter_context(service(url, redis_url, 1, **_DEFAULTS, **addresses))
        processes = {"API": api.process, "worker": worker.process, "Valkey": databases[1]}
        others = [await started.enter_async_context(_signed_in(api, "127.0.0.1")) for _ in range(2)]
        strangers = [await started.enter_async_context(_signed_in(api, _ADDRESS)) for _ in _ATTACKS]
        for other in others:
            await _wait_for_run(other), await _ingest(other)  # warm-up
        quiet = await observe(min(60, minutes * 60), api, others, processes)
        answers: Counter[str] = Counter()
        attacks = [asyncio.create_task(_attack(*pair, answers)) for pair in zip(strangers, _ATTACKS, strict=True)]
        attacked = await observe(minutes * 60, api, others, processes)
        for attack in attacks:
            attack.cancel()
        await asyncio.wait(attacks)
        usages = [await other.get("/auth/me/usage") for other in strangers]
        stored = [usage.json()["user_storage_mb"]["used"] for usage in usages if usage.is_success]
    return quiet, attacked, answers, stored


def report(quiet: Phase, attacked: Phase, stored: list[int]) -> tuple[str, bool]:
    """Return a table, and whether all aims were reached."""
    rows: list[tuple[str, str, float, float, str, float]] = [
        (title, f"≤ {most:g} x", percentile(before, 90), percentile(during, 90), "ms", most)
        for title, before, during, most in (
            ("a run of others, p90", quiet.runs, attacked.runs, 3.0),
            ("a small file of others, p90", quiet.files, attacked.files, 3.0),
        )
    ]
    rows += [
        (f"memory, {name}", "≤ 1.3 x", quiet.memory[name], attacked.memory[name], "MB", 1.3) for name in quiet.memory
    ]
    shown = [
        [
            title,
            aim,
            f"{before:,.0f} {unit}",
            f"{during:,.0f} {unit}",
            "reached" if during <= before * most else "**missed**",
        ]
        for title, aim, before, during, unit, most in rows
    ]
    most_stored, slowest, failures = max(stored, default=0), max(attacked.health), attacked.failed.total()
    for title, aim, value, reached in (
        (
            "stored by one stranger",
            f"≤ {_QUOTA_MB} MiB",
            f"{most_stored / _MIB:,.0f} MiB",
            most_stored <= 1.1 * _QUOTA_MB * _MIB,
        ),
        ("`/health`, slowest", "≤ 1,000 ms", f"{slowest:,.0f} ms", slowest <= 1000),
        ("others' requests that failed", "0", f"{failures}", failures == 0),
    ):
        shown.append([title, aim, "", value, "reached" if reached else "**missed**"])
    return table(["", "aim", "quiet", "attacked", ""], shown), all(row[-1] == "reached" for row in shown)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.exhaustion", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5)
    quiet, attacked, answers, stored = asyncio.run(measure(parser.parse_args().minutes))
    print("the strangers' answers:", dict(sorted(answers.items())))
    print(f"others: {len(attacked.runs)} runs, {len(attacked.files)} files; failed: {dict(+attacked.failed)}")
    text, reached = report(quiet, attacked, stored)
    print(text)
    sys.exit(not reached)


if __name__ == "__main__":
    main()
