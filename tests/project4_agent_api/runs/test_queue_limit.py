"""How much may wait, and whose turn it is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from redis import Redis

from tests.support.accounts import bearer, register, sign_in
from tests.support.agent_service import AgentService, agent_service
from tests.support.scripted_model import ScriptedModel
from tests.support.until import until

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"
RUN = {"assistant_id": "agent", "input": {"messages": []}}

Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture
async def http(serve4: Serve) -> AsyncIterator[httpx2.AsyncClient]:
    """The API alone, where three runs of a user may wait, and five of all, but one of each user in any case."""
    limits = {"user_runs_waiting_max": 3, "user_runs_deferred_max": 4, "user_runs_running_max": 1}
    with serve4(**limits, runs_waiting_max=5, user_crons_max=2) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            yield http


async def signed_up(http: httpx2.AsyncClient, name: str) -> dict[str, str]:
    await register(http, f"{name}@example.com")
    return bearer(await sign_in(http, f"{name}@example.com"))


async def test_too_many_pending_runs_of_a_user_are_429(http: httpx2.AsyncClient) -> None:
    ada = await signed_up(http, "ada")
    thread = (await http.post("/threads", json={}, headers=ada)).json()
    for _ in range(3):
        assert (await http.post("/runs", json=RUN, headers=ada)).status_code == 200

    for path in (f"/threads/{thread['thread_id']}/runs", "/runs", "/runs/wait", "/runs/stream"):
        refused = await http.post(path, json=RUN, headers=ada)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
        assert refused.json()["type"] == "urn:problem:too-many-requests"
    assert (await http.post("/runs/batch", json=[RUN], headers=ada)).status_code == 429
    assert (await http.get(f"/threads/{thread['thread_id']}", headers=ada)).json()["status"] == "idle"
    assert (await http.post("/threads/count", json={}, headers=ada)).json() == 4
    unknown = await http.post(f"/threads/{UUID(int=1)}/runs", json=RUN, headers=ada)
    assert unknown.status_code == 404

    await http.post("/runs/cancel", json={"status": "pending"}, headers=ada)
    assert (await http.post("/runs", json=RUN, headers=ada)).status_code == 200


async def test_too_many_pending_runs_of_the_service_are_503(http: httpx2.AsyncClient) -> None:
    ada, bob = await signed_up(http, "ada"), await signed_up(http, "bob")
    for _ in range(3):
        assert (await http.post("/runs", json=RUN, headers=ada)).status_code == 200
    assert (await http.post("/runs/batch", json=[RUN] * 3, headers=bob)).status_code == 503
    for _ in range(2):
        assert (await http.post("/runs", json=RUN, headers=bob)).status_code == 200

    refused = await http.post("/runs", json=RUN, headers=bob)

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert refused.json()["type"] == "urn:problem:queue-full"


async def test_full_queue_takes_a_run_of_each_other_user(http: httpx2.AsyncClient) -> None:
    users = [await signed_up(http, name) for name in ("ada", "bob", "cleo", "dan", "eve", "fay", "gus")]
    for user in (*users[:1] * 3, *users[1:2] * 2):
        assert (await http.post("/runs", json=RUN, headers=user)).status_code == 200

    answers = [(await http.post("/runs", json=RUN, headers=user)).status_code for user in (*users, users[2])]

    assert answers == [503, 503, 200, 200, 200, 200, 200, 503]
    everyone = await http.post("/runs", json=RUN, headers=await signed_up(http, "hal"))
    assert everyone.status_code == 503  # twice as many as the limit wait


async def test_deferred_runs_count_for_their_user_only(http: httpx2.AsyncClient) -> None:
    deferred = RUN | {"after_seconds": 365 * 24 * 3600}
    for name in ("ada", "bob", "cleo"):
        loud = await signed_up(http, name)
        assert (await http.post("/runs/batch", json=[deferred] * 4, headers=loud)).status_code == 200
        refused = await http.post("/runs", json=deferred, headers=loud)
        assert refused.status_code == 429
        assert refused.json()["limit"] == {"name": "user_runs_deferred_max", "maximum": 4, "used": 4}
        assert (await http.post("/runs", json=RUN, headers=loud)).status_code == 200

    quiet = await signed_up(http, "quiet")

    assert (await http.post("/runs/batch", json=[RUN] * 2, headers=quiet)).status_code == 200


async def test_race_exceeds_the_limit_by_at_most_the_connections(http: httpx2.AsyncClient, database_url: str) -> None:
    ada = await signed_up(http, "ada")

    answers = await asyncio.gather(*(http.post("/runs", json=RUN, headers=ada) for _ in range(40)))

    accepted = [answer for answer in answers if answer.status_code == 200]
    with psycopg.connect(database_url) as connection:
        (stored,) = connection.execute("SELECT count(*) FROM runs").fetchone() or (0,)
    assert stored == len(accepted)
    assert 3 <= stored <= 3 + 10  # DB_POOL_SIZE


async def test_too_many_crons_are_429(http: httpx2.AsyncClient) -> None:
    ada, bob = await signed_up(http, "ada"), await signed_up(http, "bob")
    cron = {"assistant_id": "agent", "schedule": "0 * * * *"}
    first = (await http.post("/runs/crons", json=cron, headers=ada)).json()
    assert (await http.post("/runs/crons", json=cron, headers=ada)).status_code == 200

    refused = await http.post("/runs/crons", json=cron, headers=ada)

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert (await http.post("/runs/crons", json=cron, headers=bob)).status_code == 200
    await http.delete(f"/runs/crons/{first['cron_id']}", headers=ada)
    assert (await http.post("/runs/crons", json=cron, headers=ada)).status_code == 200


async def test_pending_stateless_run_leaves_no_thread_when_stopped(http: httpx2.AsyncClient, database_url: str) -> None:
    ada = await signed_up(http, "ada")
    runs = [(await http.post("/runs", json=RUN, headers=ada)).json() for _ in range(2)]
    kept = (await http.post("/runs", json=RUN | {"on_completion": "keep"}, headers=ada)).json()

    for run, action in zip(runs, ("interrupt", "rollback"), strict=True):
        path = f"/threads/{run['thread_id']}/runs/{run['run_id']}/cancel"
        stopped = await http.post(path, params={"action": action, "wait": True}, headers=ada)
        assert (stopped.status_code, stopped.json()) == (200, {})
    await http.post("/runs/cancel", json={"status": "all"}, headers=ada)

    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT thread_id::text FROM threads").fetchall() == [(kept["thread_id"],)]


@pytest.fixture
def service(database_url: str, redis_url: str, model: ScriptedModel) -> Iterator[AgentService]:
    """A worker that executes three runs at once, two of them of one user."""
    settings = {"worker_concurrency": "3", "user_runs_running_max": "2", "lease_seconds": "2", "redis_prefix": "mine"}
    with agent_service(database_url, redis_url, model, GRAPHS, **settings) as running:
        yield running


@pytest.mark.slow
async def test_users_take_turns(service: AgentService, database_url: str, redis_url: str) -> None:
    busy, other = service.sign_up(), service.sign_up()
    finished: list[str] = []
    with psycopg.connect(database_url, autocommit=True) as connection:

        async def most_at_once() -> int:
            most = 0
            while "other" not in finished:
                (now,) = connection.execute(
                    "SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM runs WHERE status = 'running'"
                    " GROUP BY owner_id) AS counted"
                ).fetchone() or (0,)
                most = max(most, now)
                await asyncio.sleep(0.05)
            return most

        async with (
            get_client(url=service.url, api_key=None, headers=busy) as first,
            get_client(url=service.url, api_key=None, headers=other) as second,
        ):

            async def wait(client: LangGraphClient, name: str, seconds: float) -> None:
                # Kept: the end of a run that is deleted may be in Redis only, which is emptied below.
                given: dict[str, Any] = {"steps": 1, "seconds": seconds, "log": "/dev/null"}
                await client.runs.wait(None, "steps", input=given, on_completion="keep")
                finished.append(name)

            many = [asyncio.create_task(wait(first, "busy", 0.3)) for _ in range(40)]
            await until(lambda: len(finished) >= 2)
            # What Redis knew is gone: the turns stand in the database too.
            with Redis.from_url(redis_url) as redis:
                keys = list(redis.scan_iter("*"))
                assert keys
                assert all(key.startswith(b"mine:") for key in keys)
                redis.flushdb()
            watching = asyncio.create_task(most_at_once())
            await wait(second, "other", 0.01)

            assert await watching == 2
            assert len(finished) < 30
            await asyncio.gather(*many)
    assert len(finished) == 41


async def test_webhooks_that_are_due_are_limited(serve4: Serve, database_url: str) -> None:
    with serve4(user_webhooks_max=1) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            ada = await signed_up(http, "ada")
            run = RUN | {"webhook": "https://example.com/hook"}
            stored = (await http.post("/runs", json=run, headers=ada)).json()
            with psycopg.connect(database_url) as connection:
                connection.execute(
                    "INSERT INTO webhooks (run_id, owner_id, url, body, created_at)"
                    " SELECT run_id, owner_id, 'https://example.com', '{}', now() FROM runs"
                )

            refused = await http.post("/runs", json=run, headers=ada)

            assert (stored["status"], refused.status_code) == ("pending", 429)
            assert refused.json()["limit"] == {"name": "user_webhooks_max", "maximum": 1, "used": 1}
            assert (await http.post("/runs", json=RUN, headers=ada)).status_code == 200
