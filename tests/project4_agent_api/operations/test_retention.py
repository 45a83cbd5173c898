"""Retention removes expired rows, and nothing else."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from psycopg import AsyncConnection
from uuid_utils.compat import uuid7

from project4_agent_api.app_state import AppState
from project4_agent_api.core.state import find
from project4_agent_api.operations.retention import Retention
from project4_agent_api.settings import Settings
from project4_agent_api.worker import create_worker
from tests.project4_agent_api.conftest import Serve, SignUp
from tests.support.slow_deletes import no_time_for_more_than

GRAPHS = "tests/project4_agent_api/graphs/langgraph.json"
ALL = ("threads", "histories", "runs", "items", "uploads", "sign-ins", "grants", "clients", "keys", "miscounted")


@pytest.fixture
def settings(make_settings4: Callable[..., Settings]) -> Settings:
    return make_settings4(thread_days=10, run_days=5, failed_upload_days=3)


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_worker(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def retention(worker: FastAPI, settings: Settings) -> Retention:
    state = find(worker, AppState)
    return Retention(settings, state.pool, state.sessions, state.jobs, state.checkpoints)


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


def id_of(days: int) -> str:
    """An id that was made some days ago."""
    return str(UUID(int=(uuid7().int & (1 << 80) - 1) | int((time.time() - days * 86_400) * 1000) << 80))


async def test_only_expired_rows_are_removed(
    client4: httpx2.AsyncClient, sign_up: SignUp, retention: Retention, sql: AsyncConnection
) -> None:
    client4.headers |= await sign_up()

    async def thread(**body: object) -> UUID:
        return UUID((await client4.post("/threads", json=body)).raise_for_status().json()["thread_id"])

    expired, fresh = await thread(ttl={"ttl": 5}), await thread(ttl={"ttl": 5})
    busy, new = await thread(ttl={"ttl": 5}), await thread()
    old, chosen = await thread(thread_id=id_of(11)), await thread(thread_id="d0d5bb2c-6a4e-4f6b-8c07-0f4d8d2b8f5e")
    used, strange = await thread(thread_id=id_of(12)), await thread(thread_id="e0d5bb2c-6a4e-4f6b-8c07-0f4d8d2b8f5e")
    pending = {"assistant_id": "agent", "input": {"messages": []}, "after_seconds": 3600}
    (await client4.post(f"/threads/{busy}/runs", json=pending)).raise_for_status()
    done = (await client4.post(f"/threads/{new}/runs", json=pending)).raise_for_status().json()["run_id"]
    recent = (await client4.post(f"/threads/{new}/runs", json=pending)).raise_for_status().json()["run_id"]
    for key in ("gone", "kept"):
        item: dict[str, Any] = {"namespace": ["notes"], "key": key, "value": {}, "ttl": 5, "index": False}
        (await client4.put("/store/items", json=item)).raise_for_status()
    await sql.execute(
        "UPDATE threads SET expires_at = now() - interval '1 s' WHERE thread_id = ANY(%s)", [[expired, busy]]
    )
    await sql.execute(
        "UPDATE threads SET updated_at = now() - interval '11 days' WHERE thread_id = ANY(%s)", [[old, chosen, fresh]]
    )
    await sql.execute("UPDATE threads SET status = 'idle' WHERE thread_id = %s", [busy])  # as after a mistake
    await sql.execute("UPDATE runs SET status = 'success' WHERE thread_id = %s", [new])
    await sql.execute(
        "UPDATE runs SET updated_at = now() - interval '6 days', run_id = %s WHERE run_id = %s", [id_of(6), done]
    )
    await sql.execute("UPDATE store SET expires_at = now() - interval '1 s' WHERE key = 'gone'")

    assert await retention.sweep() == dict.fromkeys(ALL, 0) | {"threads": 3, "runs": 1, "items": 1}
    assert await retention.sweep() == dict.fromkeys(ALL, 0)
    threads = await (await sql.execute("SELECT thread_id FROM threads")).fetchall()
    assert {row[0] for row in threads} == {fresh, busy, new, used, strange}
    runs = await (await sql.execute("SELECT run_id FROM runs WHERE thread_id = %s", [new])).fetchall()
    assert [str(row[0]) for row in runs] == [recent]
    assert await (await sql.execute("SELECT key FROM store")).fetchall() == [("kept",)]


async def test_history_is_pruned_but_its_thread_kept(
    serve4: Serve, sign_up: SignUp, retention: Retention, sql: AsyncConnection
) -> None:
    with serve4() as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            http.headers |= await sign_up(client=http)
            body = {"ttl": {"ttl": 5, "strategy": "keep_latest"}}
            thread = (await http.post("/threads", json=body)).raise_for_status().json()["thread_id"]
            asked = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "Hi"}]}}
            before = (await http.post(f"/threads/{thread}/runs/wait", json=asked)).raise_for_status().json()
            await sql.execute("UPDATE threads SET expires_at = now() - interval '1 s'")

            assert await retention.sweep() == dict.fromkeys(ALL, 0) | {"histories": 1}
            assert await retention.sweep() == dict.fromkeys(ALL, 0)

            assert await (await sql.execute("SELECT count(*) FROM checkpoints")).fetchone() == (1,)
            after = (await http.get(f"/threads/{thread}/state")).raise_for_status().json()
            assert after["values"]["messages"] == before["messages"]


async def test_sweep_does_nothing_during_another_sweep(retention: Retention, sql: AsyncConnection) -> None:
    await sql.execute("INSERT INTO store (prefix, key, value, expires_at) VALUES ('a', 'b', '{}', now())")
    async with sql.transaction():
        await sql.execute("SELECT pg_advisory_xact_lock(7305961119)")
        assert await retention.sweep() == dict.fromkeys(ALL, 0)
    assert await retention.sweep() == dict.fromkeys(ALL, 0) | {"items": 1}


async def test_failed_upload_is_removed(
    client4: httpx2.AsyncClient, sign_up: SignUp, retention: Retention, sql: AsyncConnection
) -> None:
    client4.headers |= await sign_up()
    for name in ("old.txt", "new.txt"):
        file = {"file": (name, name.encode(), "text/plain")}
        (await client4.post("/documents", files=file)).raise_for_status()
    await sql.execute("UPDATE documents SET status = 'failed'")
    await sql.execute("UPDATE documents SET created_at = now() - interval '4 days' WHERE filename = 'old.txt'")

    assert await retention.sweep() == dict.fromkeys(ALL, 0) | {"uploads": 1}
    shown = (await client4.get("/documents")).json()
    assert [one["filename"] for one in shown["items"]] == ["new.txt"]


async def test_expired_sign_ins_and_keys_are_removed(
    client4: httpx2.AsyncClient, sign_up: SignUp, retention: Retention, sql: AsyncConnection
) -> None:
    for name in ("old", "new"):
        headers = await sign_up(f"{name}@example.com") | {"Idempotency-Key": name}
        (await client4.post("/threads", json={}, headers=headers)).raise_for_status()
    (old,) = await (await sql.execute("SELECT id FROM users WHERE email = 'old@example.com'")).fetchall()
    await sql.execute("UPDATE sign_ins SET expires_at = now() - interval '1 s' WHERE user_id = %s", old)
    await sql.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE owner_id = %s", old)
    for _ in range(2):
        (await client4.post("/oauth/register", json={"redirect_uris": ["http://localhost/"]})).raise_for_status()
    await sql.execute("""
        UPDATE oauth_clients SET expires_at = now() - interval '1 s'
        WHERE id = (SELECT id FROM oauth_clients ORDER BY id LIMIT 1)
    """)

    assert await retention.sweep() == dict.fromkeys(ALL, 0) | {"sign-ins": 1, "clients": 1, "keys": 1}
    assert await retention.sweep() == dict.fromkeys(ALL, 0)


async def test_threads_are_deleted_in_batches(
    client4: httpx2.AsyncClient, sign_up: SignUp, retention: Retention, sql: AsyncConnection
) -> None:
    client4.headers |= await sign_up()
    for body in [{"ttl": {"ttl": 5}}] * 7 + [{"thread_id": id_of(11 + number)} for number in range(7)]:
        (await client4.post("/threads", json=body)).raise_for_status()
    await sql.execute("UPDATE threads SET expires_at = now(), updated_at = now() - interval '11 days'")
    await sql.execute("UPDATE threads SET expires_at = NULL WHERE ttl_minutes IS NULL")
    await no_time_for_more_than(1, sql)

    assert await retention.sweep() == dict.fromkeys(ALL, 0) | {"threads": 14}


async def test_timeout_of_one_kind_does_not_stop_the_others(
    client4: httpx2.AsyncClient, sign_up: SignUp, retention: Retention, sql: AsyncConnection
) -> None:
    client4.headers |= await sign_up()
    (await client4.post("/threads", json={"ttl": {"ttl": 5}})).raise_for_status()
    await sql.execute("UPDATE threads SET expires_at = now()")
    await sql.execute("INSERT INTO store (prefix, key, value, expires_at) VALUES ('a', 'b', '{}', now())")
    await no_time_for_more_than(0, sql)

    assert await retention.sweep() == dict.fromkeys(ALL, 0) | {"items": 1}
