"""The service on servers beyond one machine: PgBouncer in transaction mode with Redis Sentinel or Cluster."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import psycopg
import pytest
from langgraph_sdk import get_client

from tests.faults.stack import GRAPHS
from tests.support.agent_service import AgentService, agent_service
from tests.support.databases import Databases
from tests.support.pgbouncer import SERVER_CONNECTIONS, pgbouncer
from tests.support.proxy import Background
from tests.support.redis_groups import PREFIX, Group, cluster, sentinel_group
from tests.support.scripted_model import ScriptedModel
from tests.support.until import until

pytestmark = pytest.mark.slow

RUNS = 24
QUESTION: dict[str, Any] = {"messages": [{"role": "user", "content": "!"}]}
SETTINGS = {"sign_ins_per_minute": "10000", "user_runs_running_max": "20"}


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    background = Background()
    yield background
    background.close()


async def use(service: AgentService, folder: Path, runs: int = RUNS) -> None:
    """Do what users do: execute and stream runs at the same time, upload a document and search it."""
    headers = await asyncio.to_thread(service.sign_up)
    async with get_client(url=service.url, api_key=None, headers=headers) as client:

        async def talk() -> str:
            thread = await client.threads.create()
            result: Any = await client.runs.wait(thread["thread_id"], "talk", input=QUESTION)
            return str(result["messages"][-1]["type"])

        async def stream(number: int) -> list[int]:
            asked: dict[str, Any] = {"steps": 3, "seconds": 0.05, "log": str(folder / f"{number}.log")}
            parts = client.runs.stream(None, "steps", input=asked, stream_mode="custom")
            return [part.data["step"] async for part in parts if part.event == "custom"]

        said = await asyncio.gather(*(talk() for _ in range(runs)))
        streamed = await asyncio.gather(*(stream(number) for number in range(3)))
    assert said == ["ai"] * runs
    assert streamed == [[0, 1, 2]] * 3

    async with httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=60, trust_env=False) as http:
        file = ("notes.txt", b"The harbour of Lisbon is deep.\n" * 50, "text/plain")
        document = (await http.post("/documents", files={"file": file})).raise_for_status().json()

        async with asyncio.timeout(60):
            while (await http.get(f"/documents/{document['id']}")).json()["status"] != "ready":  # noqa: ASYNC110  another process
                await asyncio.sleep(0.05)
        for _ in range(8):  # more often than psycopg prepares a statement
            found = await http.post("/documents/search", json={"query": "harbour"})
            assert found.raise_for_status().json()["hits"]


def becomes_ready(service: AgentService) -> None:
    """Wait until the API and the worker are ready."""
    for url in (service.url, *service.worker_urls):
        deadline = monotonic() + 60
        while httpx2.get(f"{url}/ready", timeout=60, trust_env=False).status_code != 200:
            assert monotonic() < deadline
            sleep(0.05)


def connections(database_url: str) -> int:
    """Return how many sessions the server has, besides this one."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(database_url) as connection:
        return int(connection.execute(statement).fetchall()[0][0])


@pytest.mark.parametrize("run_group", [sentinel_group, cluster])
async def test_service_behind_a_pooler_survives_the_loss_of_its_redis_primary(
    run_group: Callable[[Background, Path], AbstractContextManager[Group]],
    background: Background,
    databases: Databases,
    model: ScriptedModel,
    tmp_path: Path,
) -> None:
    with (
        databases.migrated("project4_agent_api") as direct,
        pgbouncer(background, tmp_path, direct) as pooled,
        run_group(background, tmp_path) as group,
        agent_service(
            pooled, group.url, model, GRAPHS, database_session_url=direct, redis_prefix=PREFIX, **SETTINGS
        ) as service,
    ):
        await use(service, tmp_path)
        headers = await asyncio.to_thread(service.sign_up)
        async with get_client(url=service.url, api_key=None, headers=headers) as client:
            asked: dict[str, Any] = {"steps": 5, "seconds": 0.5, "log": str(tmp_path / "long.log")}
            threads = [await client.threads.create() for _ in range(3)]
            runs = [await client.runs.create(each["thread_id"], "steps", input=asked) for each in threads]
            await until((tmp_path / "long.log").exists)

            await asyncio.to_thread(group.lose_primary)

            await asyncio.to_thread(becomes_ready, service)
            for thread, run in zip(threads, runs, strict=True):
                result: Any = await client.runs.join(thread["thread_id"], run["run_id"])
                assert result["done"] == list(range(5))
        await use(service, tmp_path)
        sessions = await asyncio.to_thread(connections, direct)

    # Listeners and jobs: up to 5 of the API and 7 of the worker.
    assert sessions <= SERVER_CONNECTIONS + 12
