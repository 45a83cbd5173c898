"""One's own account: shown, changed, deleted with all that belongs to it."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest
from psycopg import sql
from redis import Redis
from sqlalchemy.engine import make_url

from shared.owner import LOCAL_OWNER_ID
from tests.project4_agent_api.conftest import Operate, SignUp
from tests.support.accounts import PASSWORD, bearer, gets_in, refresh, register, sign_in, try_to_sign_in
from tests.support.agent_runs import GRAPHS, said
from tests.support.agent_service import agent_service
from tests.support.scripted_model import ScriptedModel
from tests.support.until import until

NEW = {"password": "a new password", "old_password": PASSWORD}


async def test_patch_changes_given_fields_only(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    headers = await sign_up("ada@example.com")
    await register(client4, "bob@example.com")

    changed = await client4.patch("/auth/me", json={"name": "Countess"}, headers=headers)
    taken = await client4.patch("/auth/me", json={"email": "BOB@example.com"}, headers=headers)
    moved = await client4.patch("/auth/me", json={"email": "lovelace@example.com"}, headers=headers)

    assert (changed.status_code, changed.json()["name"]) == (200, "Countess")
    assert taken.status_code == 409
    assert moved.json() == (await client4.get("/auth/me", headers=headers)).json()
    assert (await try_to_sign_in(client4, "ada@example.com")).status_code == 401
    assert (await try_to_sign_in(client4, "lovelace@example.com")).status_code == 200


async def test_password_change_ends_other_sign_ins(client4: httpx2.AsyncClient) -> None:
    await register(client4, "ada@example.com")
    here, there = await sign_in(client4, "ada@example.com"), await sign_in(client4, "ada@example.com")

    changed = await client4.patch("/auth/me", json=NEW, headers=bearer(here))

    assert changed.status_code == 200
    assert [await gets_in(client4, bearer(tokens)) for tokens in (here, there)] == [200, 401]
    assert [(await refresh(client4, tokens)).status_code for tokens in (here, there)] == [200, 401]
    assert (await try_to_sign_in(client4, "ada@example.com")).status_code == 401
    assert (await try_to_sign_in(client4, "ada@example.com", "a new password")).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"password": "a new password"}, 422),
        ({"old_password": PASSWORD}, 422),
        (NEW | {"old_password": "another password"}, 403),
        (NEW | {"password": "short"}, 422),
        ({"role": "admin"}, 422),
        ({"active": True}, 422),
    ],
)
async def test_read_only_fields_are_rejected(
    client4: httpx2.AsyncClient, sign_up: SignUp, body: dict[str, Any], status: int
) -> None:
    headers = await sign_up("ada@example.com")
    before = (await client4.get("/auth/me", headers=headers)).json()

    refused = await client4.patch("/auth/me", json=body, headers=headers)

    assert refused.status_code == status
    assert (await client4.get("/auth/me", headers=headers)).json() == before
    await sign_in(client4, "ada@example.com")


async def test_guesses_of_the_old_password_are_throttled(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    headers = await sign_up("ada@example.com")

    guesses = await asyncio.gather(
        *(client4.patch("/auth/me", json=NEW | {"old_password": f"guess {i}"}, headers=headers) for i in range(12))
    )
    moved = await client4.patch("/auth/me", json={"email": "other@example.com"}, headers=headers)
    once_more = await client4.patch("/auth/me", json=NEW | {"old_password": "guess"}, headers=headers)

    assert Counter(guess.status_code for guess in guesses) == {403: 10, 429: 2}
    assert (moved.status_code, once_more.status_code) == (200, 429)
    assert (await try_to_sign_in(client4, "other@example.com")).status_code == 429  # nor by signing in


async def test_old_password_with_a_lone_surrogate_is_rejected(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    headers = await sign_up("ada@example.com") | {"Content-Type": "application/json"}

    refused = await client4.patch(
        "/auth/me", content=rb'{"password": "long enough", "old_password": "\ud800"}', headers=headers
    )

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "old_password"]


async def test_concurrent_password_changes_have_one_winner(client4: httpx2.AsyncClient) -> None:
    await register(client4, "ada@example.com")
    pairs = [await sign_in(client4, "ada@example.com") for _ in range(5)]

    answers = await asyncio.gather(
        *(
            client4.patch("/auth/me", json=NEW | {"password": f"new password {i}"}, headers=bearer(pair))
            for i, pair in enumerate(pairs)
        )
    )

    winners = [i for i, answer in enumerate(answers) if answer.status_code == 200]
    assert len(winners) == 1
    left = [await gets_in(client4, bearer(pair)) for pair in pairs]
    assert [i for i, status in enumerate(left) if status == 200] == winners
    await sign_in(client4, "ada@example.com", f"new password {winners[0]}")


async def test_api_key_cannot_take_over_an_account(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    headers = await sign_up("ada@example.com")
    made = (await client4.post("/auth/api-keys", json={"name": "job"}, headers=headers)).json()
    key = {"X-Api-Key": made["key"]}

    answers = [
        await client4.patch("/auth/me", json=NEW, headers=key),
        await client4.delete("/auth/me", headers=key),
        await client4.post("/auth/logout-all", headers=key),
        await client4.post("/auth/api-keys", json={"name": "more"}, headers=key),
        await client4.delete(f"/auth/api-keys/{made['id']}", headers=key),
    ]

    assert [answer.status_code for answer in answers] == [403] * 5
    assert await gets_in(client4, headers) == 200


TABLES = {
    "users": "id",
    "sign_ins": "user_id",
    "api_keys": "user_id",
    "accounts": "user_id",
    "threads": "owner_id",
    "runs": "owner_id",
    "assistants": "owner_id",
    "crons": "owner_id",
    "past_versions": "owner_id",
    "collections": "owner_id",
    "webhook_secrets": "user_id",
}


FILL: list[LiteralString] = [
    """
    INSERT INTO assistants (assistant_id, owner_id, graph_id, name, config, context, metadata, version, created_at,
        updated_at)
    VALUES (%(assistant)s, %(owner)s, 'g', 'n', '{}', '{}', '{}', 1, now(), now())
    """,
    """
    INSERT INTO threads (thread_id, owner_id, status, metadata, config, interrupts, created_at, updated_at,
        state_updated_at)
    VALUES (%(thread)s, %(owner)s, 'idle', '{}', '{}', '{}', now(), now(), now())
    """,
    """
    INSERT INTO runs (run_id, thread_id, assistant_id, owner_id, status, metadata, kwargs, multitask_strategy, attempt,
        due_at, created_at, updated_at)
    VALUES (gen_random_uuid(), %(thread)s, %(assistant)s, %(owner)s, 'success', '{}', '{}', 'reject', 0, now(), now(),
        now())
    """,
    """
    INSERT INTO crons (cron_id, owner_id, assistant_id, schedule, payload, metadata, enabled, created_at, updated_at)
    VALUES (gen_random_uuid(), %(owner)s, %(assistant)s, '* * * * *', '{}', '{}', true, now(), now())
    """,
    "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES (%(thread)s::text, '1', '{}')",
    "INSERT INTO store (prefix, key, value) VALUES (%(prefix)s, 'k', '{}')",
    "INSERT INTO webhook_secrets (user_id, salt, created_at) VALUES (%(owner)s, 'salt', now())",
]


def fill(database_url: str, owner_id: UUID) -> None:
    """Store what other parts of the service would."""
    given = {"owner": owner_id, "prefix": f"{owner_id}.memories", "thread": uuid4(), "assistant": uuid4()}
    with psycopg.connect(database_url) as connection:
        for statement in FILL:
            connection.execute(statement, given)


def kept(database_url: str, owner_id: UUID) -> dict[str, int]:
    with psycopg.connect(database_url) as connection:
        counts = {
            table: connection.execute(
                sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(sql.Identifier(table), sql.Identifier(column)),
                [owner_id],
            ).fetchone()
            for table, column in TABLES.items()
        }
        counts["store"] = connection.execute(
            "SELECT count(*) FROM store WHERE prefix LIKE %s", [f"{owner_id}%"]
        ).fetchone()
        counts["documents"] = connection.execute(
            "SELECT count(*) FROM documents WHERE owner_id = %s AND status <> 'deleted'", [owner_id]
        ).fetchone()
    return {name: row[0] if row else -1 for name, row in counts.items()}


def history(database_url: str, account_id: object) -> str:
    """The name of an account's history in Redis, where no prefix is set."""
    return f"{make_url(database_url).database}:history:{account_id}"


@pytest.mark.parametrize("by", ["the user", "an administrator"])
async def test_account_deletion_removes_its_data(
    client4: httpx2.AsyncClient, sign_up: SignUp, operate: Operate, database_url: str, redis_url: str, by: str
) -> None:
    ids, headers = [], []
    for email in ("ada@example.com", "bob@example.com"):
        headers.append(await sign_up(email))
        account = (await client4.get("/auth/me", headers=headers[-1])).json()
        ids.append(UUID(account["id"]))
        fill(database_url, ids[-1])
        files = {"file": ("a.txt", b"The library opens at nine.\n")}
        uploaded = await client4.post("/documents", files=files, headers=headers[-1])
        assert uploaded.status_code == 202
        assert (await client4.post("/collections", json={"name": "Own"}, headers=headers[-1])).status_code == 201
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "INSERT INTO past_versions SELECT id, 0, owner_id, filename, media_type, size_bytes, sha256,"
                " created_at, now() FROM documents WHERE id = %s",
                [uploaded.json()["id"]],
            )
        assert (await client4.post("/auth/api-keys", json={"name": "job"}, headers=headers[-1])).status_code == 201
        operate("set-role", email, "user")
        with Redis.from_url(redis_url) as redis:
            redis.lpush(history(database_url, account["id"]), "{}")
    before = kept(database_url, ids[1])
    assert min(before.values()) == 1

    if by == "the user":
        gone = await client4.delete("/auth/me", headers=headers[0])
    else:
        admin = await sign_up("root@example.com")
        operate("set-role", "root@example.com", "admin")
        gone = await client4.delete(f"/users/{ids[0]}", headers=admin)

    assert (gone.status_code, gone.content) == (204, b"")
    assert set(kept(database_url, ids[0]).values()) == {0}
    assert kept(database_url, ids[1]) == before
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (1,)
    with Redis.from_url(redis_url) as redis:
        assert [redis.exists(history(database_url, owner_id)) for owner_id in ids] == [0, 1]
    assert [await gets_in(client4, one) for one in headers] == [401, 200]
    assert (await try_to_sign_in(client4, "ada@example.com")).status_code == 401
    await register(client4, "ada@example.com")


@pytest.mark.parametrize("by", ["the user", "an administrator"])
@pytest.mark.slow
async def test_data_arriving_during_account_deletion_is_removed_later(
    database_url: str, redis_url: str, model: ScriptedModel, operate: Operate, by: str
) -> None:
    due = "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE task_name = 'remove_belongings' RETURNING args"
    with agent_service(database_url, redis_url, model) as service, httpx2.Client(timeout=120, trust_env=False) as http:
        own, admin = service.sign_up(), service.sign_up()
        owner_id = UUID(http.get(f"{service.url}/auth/me", headers=own).json()["id"])
        root = http.get(f"{service.url}/auth/me", headers=admin).json()
        operate("set-role", root["email"], "admin")
        path, headers = ("/auth/me", own) if by == "the user" else (f"/users/{owner_id}", admin)
        assert http.delete(service.url + path, headers=headers).status_code == 204
        fill(database_url, owner_id)
        fill(database_url, UUID(root["id"]))
        assert kept(database_url, owner_id)["threads"] == 1

        with psycopg.connect(database_url) as connection:
            assert connection.execute(due).fetchall() == [({"owner_id": str(owner_id)},)]
        await until(lambda: set(kept(database_url, owner_id).values()) == {0})

    assert kept(database_url, UUID(root["id"]))["threads"] == 1


async def test_deletion_of_unknown_account_removes_nothing(
    client4: httpx2.AsyncClient, sign_up: SignUp, operate: Operate, database_url: str
) -> None:
    admin = await sign_up("root@example.com")
    operate("set-role", "root@example.com", "admin")
    fill(database_url, LOCAL_OWNER_ID)  # who turns accounts on later may want it still

    assert (await client4.delete(f"/users/{LOCAL_OWNER_ID}", headers=admin)).status_code == 404

    assert kept(database_url, LOCAL_OWNER_ID)["threads"] == 1


@pytest.mark.slow
async def test_account_deletion_stops_runs_and_notifies_waiters(
    database_url: str, redis_url: str, model: ScriptedModel, tmp_path: Path
) -> None:
    alone = {"lease_seconds": "600", "worker_concurrency": "1"}  # nobody finds out by a lease, nor works beside it
    with agent_service(database_url, redis_url, model, GRAPHS, **alone) as service:
        async with (
            httpx2.AsyncClient(base_url=service.url, headers=service.sign_up(), timeout=120, trust_env=False) as ada,
            httpx2.AsyncClient(base_url=service.url, headers=service.sign_up(), timeout=120, trust_env=False) as bob,
        ):
            log = tmp_path / "log"
            work = {"assistant_id": "steps", "input": {"steps": 1, "seconds": 3600, "log": str(log)}}
            waiting = [asyncio.create_task(ada.post("/runs/wait", json=work)) for _ in range(2)]
            owner_id = UUID((await ada.get("/auth/me")).json()["id"])
            await until(lambda: log.exists() and kept(database_url, owner_id)["runs"] == 2)

            assert (await ada.delete("/auth/me")).status_code == 204

            async with asyncio.timeout(120):  # until they are taken for hung
                assert [(await one).json() for one in waiting] == [{}, {}]
            others = await bob.post("/runs/wait", json={"assistant_id": "talk", "input": said("Hello")})
            assert others.json()["messages"][-1]["content"] == "1: Hello"
