"""Failover between two PostgreSQL servers: no acknowledged run is lost, none ends twice, and nothing is restarted."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2
import psycopg
import pytest

from local.services import valkey
from local.state import StageState
from shared.database.migrate import migrate
from tests.faults.stack import GRAPHS, WATCH_ENDS
from tests.support.agent_service import PACKAGE, AgentService, agent_service
from tests.support.proxy import Background
from tests.support.replication import DATABASE, Server
from tests.support.scripted_model import ScriptedModel
from tests.support.until import until

pytestmark = pytest.mark.slow

STEPS = 3
JOB_WORKERS = 4  # each worker process has two: for documents and for webhooks
ALIVE = "last_heartbeat > now() - interval '5 seconds'"  # others have restarted under another id


@dataclass
class Cluster:
    """Two servers, and a service with two API processes and two workers that knows both addresses."""

    primary: Server
    standby: Server
    service: AgentService
    apis: list[str]
    probes: list[str]

    def swap(self) -> None:
        """Note that the standby is the primary now."""
        self.primary, self.standby = self.standby, self.primary


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, _model_server: ScriptedModel) -> Iterator[Cluster]:
    """All of it."""
    with ExitStack() as exits, pytest.MonkeyPatch.context() as patch:
        background = Background()
        exits.callback(background.close)
        folder = tmp_path_factory.mktemp("failover")
        first = Server(background, folder / "first")
        second = Server(background, folder / "second", of=first)
        exits.callback(first.stop)
        exits.callback(second.stop)
        first.start()
        first.execute(f"CREATE DATABASE {DATABASE}")
        places = f"{first.place.netloc},{second.place.netloc.rpartition('@')[2]}"
        url = f"postgresql://{places}/{DATABASE}"
        patch.setenv("DATABASE_URL", url)
        assert migrate(PACKAGE, "project4") == 0
        with psycopg.connect(first.url) as connection:
            connection.execute(WATCH_ENDS)
        second.become_standby_of(first)
        state = StageState("failover")
        state.folder = folder
        redis, found_by = valkey(state, os.environ)
        background.run(redis.start())
        exits.callback(lambda: background.run(redis.stop()))
        settings = {
            "lease_seconds": "2",
            "run_attempts": "5",
            "sign_ins_per_minute": "10000",
            "user_runs_running_max": "20",
            "db_connect_timeout_seconds": "2",
            "db_statement_timeout_seconds": "3",
        }
        service = exits.enter_context(agent_service(url, found_by["REDIS_URL"], _model_server, GRAPHS, **settings))
        apis = [service.url, service.start_api()]
        service.start_worker()
        yield Cluster(first, second, service, apis, apis + service.worker_urls)


@dataclass
class Load:
    """Clients that create runs without a pause, at both API processes.

    Attributes:
        accepted: The acknowledged runs: their threads, ids and logs.
        documents: The ids of the acknowledged uploads.
        refused: Statuses of the other responses; 0 for a connection that broke.
    """

    cluster: Cluster
    folder: Path
    accepted: list[tuple[str, str, Path | None]] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    over: bool = False

    async def run(self, number: int, url: str, headers: dict[str, str]) -> None:
        """Create runs as one client, until the load ends."""
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as http:
            count = 0
            while not self.over:
                count += 1
                log = self.folder / f"{number}-{count}.log" if count % 3 == 0 else None
                try:
                    if count % 5 == 2:
                        await self._upload(http, count)
                    thread = await self._post(http, "/threads", {})
                    run = thread and await self._post(http, f"/threads/{thread['thread_id']}/runs", _run(log))
                except httpx2.TransportError:
                    self.refused[0] += 1
                else:
                    if thread and run:
                        self.accepted.append((thread["thread_id"], run["run_id"], log))
                await asyncio.sleep(0.1)

    async def _upload(self, http: httpx2.AsyncClient, count: int) -> None:
        text = "".join(f"Line {line} of document {count}, of {http.base_url}.\n" for line in range(2000))
        response = await http.post("/documents", files={"file": ("notes.txt", text.encode(), "text/plain")})
        if response.is_success:
            self.documents.append(response.json()["id"])
        else:
            assert response.status_code == 503, response.text

    async def _post(self, http: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        response = await http.post(path, json=body)
        if response.is_success:
            created: dict[str, Any] = response.json()
            return created
        self.refused[response.status_code] += 1
        assert response.status_code == 503, response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert int(response.headers["retry-after"]) > 0
        return None

    async def more(self, amount: int) -> None:
        """Wait until that many more runs are acknowledged."""
        wanted = len(self.accepted) + amount
        await until(lambda: len(self.accepted) >= wanted, 60)


def _run(log: Path | None) -> dict[str, Any]:
    if log is None:
        return {"assistant_id": "talk", "input": {"messages": [{"role": "user", "content": "!"}]}}
    asked = {"steps": STEPS, "seconds": 0.3, "log": str(log)}
    return {"assistant_id": "steps", "input": asked, "durability": "sync"}


async def seconds_until_ready(cluster: Cluster) -> float:
    """Measure the time until each process answers `/ready` with 200."""
    started = monotonic()

    async def ready(http: httpx2.AsyncClient, url: str) -> None:
        while (await http.get(f"{url}/ready")).status_code != 200:  # noqa: ASYNC110  another process becomes ready
            await asyncio.sleep(0.05)

    async with asyncio.timeout(60), httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        await asyncio.gather(*(ready(http, url) for url in cluster.probes))
    return monotonic() - started


async def readiness(cluster: Cluster) -> list[tuple[int, str]]:
    """Return the status of each process and its reason."""
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        found = [await http.get(f"{url}/ready") for url in cluster.probes]
    return [(response.status_code, response.json().get("detail", "")) for response in found]


async def under_load(cluster: Cluster, folder: Path, fail_over: Callable[[], Awaitable[None]]) -> Load:
    """Fail over while clients create runs; check afterwards that each acknowledged run has ended once, and well."""
    load = Load(cluster, folder)
    urls = [cluster.apis[number % 2] for number in range(6)]
    accounts = [await asyncio.to_thread(cluster.service.sign_up, url) for url in urls]
    clients = [
        asyncio.create_task(load.run(number, url, headers))
        for number, (url, headers) in enumerate(zip(urls, accounts, strict=True))
    ]
    await load.more(60)
    started = monotonic()
    await fail_over()
    promoted = monotonic()
    ready = await seconds_until_ready(cluster)
    accepted = len(load.accepted)
    await load.more(20)
    load.over = True
    await asyncio.gather(*clients)
    await asyncio.to_thread(settle, cluster.primary)

    ids = [run_id for _, run_id, _ in load.accepted]
    stored = cluster.primary.rows("SELECT run_id::text, status FROM runs WHERE run_id = ANY(%s::uuid[])", ids)
    assert {row["run_id"] for row in stored} == set(ids)
    assert Counter(row["status"] for row in stored) == {"success": len(ids)}
    assert cluster.primary.rows("SELECT run_id FROM ends GROUP BY run_id HAVING count(*) > 1") == []
    assert cluster.primary.rows("SELECT thread_id FROM threads WHERE status = 'busy'") == []
    documents = cluster.primary.rows(
        "SELECT id::text, status FROM documents WHERE id = ANY(%s::uuid[])", load.documents
    )
    assert {row["id"]: row["status"] for row in documents} == dict.fromkeys(load.documents, "ready")
    assert load.documents
    for _, _, log in load.accepted:
        if log:
            assert {int(line.split()[0]) for line in log.read_text().splitlines()} == set(range(STEPS))
    report = (
        f"promoted after {promoted - started:.1f} s, ready {ready:.1f} s later; {accepted} runs acknowledged before"
    )
    print(f"{report}, {len(ids)} in all; other statuses: {dict(load.refused)}")  # noqa: T201  shown by `pytest -s`
    return load


def settle(server: Server) -> None:
    """Wait until no run and no job is unfinished, and all workers for jobs are alive."""
    server.wait_for("SELECT WHERE NOT EXISTS (SELECT FROM runs WHERE status IN ('pending', 'running'))")
    server.wait_for("SELECT WHERE NOT EXISTS (SELECT FROM procrastinate_jobs)")
    server.wait_for(f"SELECT FROM procrastinate_workers WHERE {ALIVE} HAVING count(*) = {JOB_WORKERS}")


async def test_run_is_acknowledged_only_when_the_standby_has_it(cluster: Cluster) -> None:
    headers = await asyncio.to_thread(cluster.service.sign_up)
    async with httpx2.AsyncClient(base_url=cluster.service.url, headers=headers, timeout=60, trust_env=False) as http:
        thread = (await http.post("/threads", json={})).raise_for_status().json()["thread_id"]
        for process in cluster.standby.processes():
            process.suspend()

        refused = await http.post(f"/threads/{thread}/runs", json=_run(None))

        for process in cluster.standby.processes():
            process.resume()
        await seconds_until_ready(cluster)
        accepted = await http.post(f"/threads/{thread}/runs", json=_run(None))
    assert (refused.status_code, accepted.status_code) == (503, 200)


async def test_killed_primary_is_replaced_by_its_standby(cluster: Cluster, tmp_path: Path) -> None:
    async def fail_over() -> None:
        await asyncio.to_thread(cluster.primary.kill)
        await asyncio.sleep(2)  # until the failure is detected
        assert {status for status, _ in await readiness(cluster)} == {503}
        await asyncio.to_thread(cluster.standby.promote)
        cluster.swap()

    load = await under_load(cluster, tmp_path, fail_over)

    assert set(load.refused) <= {0, 503}


async def test_demoted_primary_is_left_while_it_runs(cluster: Cluster, tmp_path: Path) -> None:
    await asyncio.to_thread(cluster.standby.become_standby_of, cluster.primary)

    async def fail_over() -> None:
        await asyncio.to_thread(cluster.primary.set, "default_transaction_read_only", "on")
        await asyncio.sleep(1)
        for status, reason in await readiness(cluster):
            assert status == 503
            assert "Read-only: database." in reason
        await asyncio.to_thread(cluster.standby.promote)
        cluster.swap()

    load = await under_load(cluster, tmp_path, fail_over)
    await asyncio.to_thread(cluster.standby.stop)

    assert set(load.refused) <= {503}
    await seconds_until_ready(cluster)
