"""Stored bytes of a user are counted, shown and limited; registration can be restricted."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from tests.project4_agent_api.conftest import Operate, Serve
from tests.support.accounts import PASSWORD, bearer, register, sign_in
from tests.support.agent_service import agent_service
from tests.support.scripted_model import ScriptedModel
from tests.support.until import until

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"
MIB = 1024 * 1024


def conversation(size: int, steps: int = 1) -> dict[str, Any]:
    """A thread whose history has as many steps, each with a message of so many characters."""
    message = {"messages": [{"role": "user", "content": "x" * size}]}
    steps_ = [{"updates": [{"values": message, "as_node": "__start__"}]} for _ in range(steps)]
    return {"metadata": {"graph_id": "agent"}, "supersteps": steps_}


@pytest.fixture
async def http(serve4: Serve) -> AsyncIterator[httpx2.AsyncClient]:
    """The API alone, where a user stores at most a mebibyte."""
    with serve4(user_storage_mb=1, user_api_keys_max=2, user_documents_waiting_max=2) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            yield http


async def signed_up(http: httpx2.AsyncClient, name: str) -> dict[str, str]:
    await register(http, f"{name}@example.com")
    return bearer(await sign_in(http, f"{name}@example.com"))


async def used(http: httpx2.AsyncClient, headers: dict[str, str]) -> int:
    usage = (await http.get("/auth/me/usage", headers=headers)).json()
    assert usage["user_storage_mb"]["maximum"] == MIB
    assert usage["user_storage_mb"]["used"] == sum(usage["stored_bytes"].values())
    count: int = usage["user_storage_mb"]["used"]
    return count


async def test_everything_that_is_stored_counts_until_it_is_deleted(
    http: httpx2.AsyncClient, database_url: str
) -> None:
    ada = await signed_up(http, "ada")
    text = "x" * 50_000
    sizes = [await used(http, ada)]

    async def counted(answer: httpx2.Response) -> Any:  # noqa: ANN401  any JSON
        sizes.append(await used(http, ada))
        assert answer.status_code < 300, answer.text
        assert sizes[-1] - sizes[-2] > 50_000
        return answer.json() if answer.content else None

    thread = await counted(await http.post("/threads", json=conversation(50_000), headers=ada))
    path = f"/threads/{thread['thread_id']}"
    copy = await counted(await http.post(f"{path}/copy", headers=ada))
    values = {"values": {"messages": [{"role": "user", "content": text}]}, "as_node": "__start__"}
    await counted(await http.post(f"{path}/state", json=values, headers=ada))
    await counted(await http.patch(path, json={"metadata": {"text": text}}, headers=ada))
    run = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": text}]}}
    run_id = (await counted(await http.post(f"{path}/runs", json=run, headers=ada)))["run_id"]
    item = {"namespace": ["notes"], "key": "k", "value": {"text": text}, "index": False}
    await counted(await http.put("/store/items", json=item, headers=ada))
    assistant = {"graph_id": "agent", "config": {"configurable": {"text": text}}}
    assistant_id = (await counted(await http.post("/assistants", json=assistant, headers=ada)))["assistant_id"]
    await counted(await http.patch(f"/assistants/{assistant_id}", json={"metadata": {"text": text}}, headers=ada))
    cron = run | {"schedule": "@daily"}
    cron_id = (await counted(await http.post("/runs/crons", json=cron, headers=ada)))["cron_id"]
    key = {"Idempotency-Key": "k"}
    await counted(await http.post("/threads", json={"metadata": {"text": text}}, headers=ada | key))
    document = await counted(await http.post("/documents", files={"file": ("a.txt", text.encode())}, headers=ada))
    with psycopg.connect(database_url) as connection:
        values = {"id": document["id"], "text": text}
        connection.execute(
            "INSERT INTO summaries SELECT id, 'm', owner_id, %(text)s FROM documents WHERE id = %(id)s", values
        )
    assert await used(http, ada) > sizes[-1] + len(text)

    await http.post(f"{path}/runs/{run_id}/cancel", headers=ada)
    for thread_id in [each["thread_id"] for each in (await http.post("/threads/search", json={}, headers=ada)).json()]:
        assert (await http.delete(f"/threads/{thread_id}", headers=ada)).status_code == 204
    await http.request("DELETE", "/store/items", json={"namespace": ["notes"], "key": "k"}, headers=ada)
    await http.delete(f"/assistants/{assistant_id}", headers=ada)
    await http.delete(f"/runs/crons/{cron_id}", headers=ada)
    usage = (await http.get("/auth/me/usage", headers=ada)).json()["stored_bytes"]
    assert {kind for kind, size in usage.items() if size} == {"documents", "idempotency_keys"}
    assert copy["thread_id"] != thread["thread_id"]


STORING: list[tuple[str, str, object]] = [
    ("POST", "/threads", conversation(1000)),
    ("POST", "/threads", {"metadata": {}}),
    ("POST", "/threads/{thread_id}/copy", None),
    ("PATCH", "/threads/{thread_id}", {"metadata": {"a": 1}}),
    ("POST", "/threads/{thread_id}/state", {"values": {"messages": []}, "as_node": "__start__"}),
    ("POST", "/threads/{thread_id}/runs", {"assistant_id": "agent"}),
    ("POST", "/runs/wait", {"assistant_id": "agent"}),
    ("PUT", "/store/items", {"namespace": ["a"], "key": "k", "value": {"a": 1}, "index": False}),
    ("POST", "/assistants", {"graph_id": "agent"}),
    ("PATCH", "/assistants/{assistant_id}", {"name": "other"}),
    ("POST", "/runs/crons", {"assistant_id": "agent", "schedule": "@daily"}),
    ("PATCH", "/runs/crons/{cron_id}", {"metadata": {"a": 1}}),
    ("POST", "/documents", None),
]


async def test_nothing_more_is_stored_beyond_the_quota(http: httpx2.AsyncClient, database_url: str) -> None:
    ada, bob = await signed_up(http, "ada"), await signed_up(http, "bob")
    ids = (await http.post("/threads", json=conversation(1000), headers=ada)).json()
    ids |= (await http.post("/assistants", json={"graph_id": "agent"}, headers=ada)).json()
    cron = {"assistant_id": "agent", "schedule": "@daily"}
    ids["cron_id"] = (await http.post("/runs/crons", json=cron, headers=ada)).json()["cron_id"]
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE threads SET stored_bytes = 1048576")

    for method, path, body in STORING:
        content: Any = {"files": {"file": ("a.txt", b"a")}} if path == "/documents" else {"json": body}
        refused = await http.request(method, path.format(**ids), headers=ada, **content)
        assert refused.status_code == 507, (path, refused.text)
        problem = refused.json()
        assert problem["type"] == "urn:problem:storage-quota"
        assert problem["limit"]["name"] == "user_storage_mb"
        assert (problem["limit"]["maximum"], problem["limit"]["used"] > MIB) == (MIB, True)
        if not path.startswith(("/threads/", "/assistants/", "/runs/wait", "/runs/crons/")):
            assert (await http.request(method, path, headers=bob, **content)).status_code < 300
    disabled = await http.patch(f"/runs/crons/{ids['cron_id']}", json={"enabled": False}, headers=ada)
    assert (disabled.status_code, disabled.json()["enabled"]) == (200, False)
    assert (await http.delete(f"/threads/{ids['thread_id']}", headers=ada)).status_code == 204
    assert await used(http, ada) < 50_000


async def test_copy_that_would_exceed_the_quota_is_not_made(http: httpx2.AsyncClient) -> None:
    ada = await signed_up(http, "ada")
    thread = (await http.post("/threads", json=conversation(100_000, 2), headers=ada)).json()

    path = f"/threads/{thread['thread_id']}/copy"

    for _ in range(int(MIB / await used(http, ada)) - 1):
        assert (await http.post(path, headers=ada)).status_code == 200
    assert (await http.post(path, headers=ada)).status_code == 507
    assert await used(http, ada) < MIB


async def test_api_keys_and_waiting_documents_are_limited(http: httpx2.AsyncClient) -> None:
    ada = await signed_up(http, "ada")
    for number in range(2):
        assert (await http.post("/auth/api-keys", json={"name": "k"}, headers=ada)).status_code == 201
        file = {"file": ("a.txt", f"text {number}".encode())}
        assert (await http.post("/documents", files=file, headers=ada)).status_code == 202

    key = await http.post("/auth/api-keys", json={"name": "k"}, headers=ada)
    document = await http.post("/documents", files={"file": ("a.txt", b"text 3")}, headers=ada)

    assert (key.status_code, key.json()["limit"]) == (429, {"name": "user_api_keys_max", "maximum": 2, "used": 2})
    limit = {"name": "user_documents_waiting_max", "maximum": 2, "used": 2}
    assert (document.status_code, document.json()["limit"]) == (429, limit)


async def test_tokens_of_requests_count_for_their_user(
    http: httpx2.AsyncClient, model: ScriptedModel, database_url: str
) -> None:
    ada, bob = await signed_up(http, "ada"), await signed_up(http, "bob")
    model.says("It is three.")

    assert (await http.post("/ask", json={"question": "What is 1 + 2?"}, headers=ada)).status_code == 200

    async def totals(headers: dict[str, str]) -> Any:  # noqa: ANN401  any JSON
        return (await http.get("/auth/me/usage/models", headers=headers)).json()["total"]

    await until(lambda: added_up_tokens(database_url) == 10)  # after the response was sent
    assert (await totals(ada))["tokens"]["output"] == 3
    assert (await totals(ada))["cost"]["unpriced_models"] == ["scripted-model"]
    assert (await totals(bob))["calls"] == 0


async def test_administrators_see_the_usage_of_others(http: httpx2.AsyncClient, operate: Operate) -> None:
    ada, bob = await signed_up(http, "ada"), await signed_up(http, "bob")
    await http.post("/threads", json=conversation(1000), headers=bob)
    operate("set-role", "ada@example.com", "admin")
    bob_id = (await http.get("/auth/me", headers=bob)).json()["id"]

    shown = await http.get(f"/users/{bob_id}/usage", headers=ada)

    assert shown.json() == (await http.get("/auth/me/usage", headers=bob)).json()
    assert (await http.get("/usage", headers=ada)).status_code == 200
    models = await http.get(f"/users/{bob_id}/usage/models", headers=ada)
    assert models.json() == (await http.get("/auth/me/usage/models", headers=bob)).json()
    for path in (f"/users/{bob_id}/usage", f"/users/{bob_id}/usage/models", "/usage"):
        assert (await http.get(path, headers=bob)).status_code == 403


@pytest.mark.slow
async def test_run_stops_when_it_exceeds_the_quota(database_url: str, redis_url: str, model: ScriptedModel) -> None:
    settings = {"user_storage_mb": "4"}
    with agent_service(database_url, redis_url, model, GRAPHS, **settings) as service:
        headers = service.sign_up()
        async with httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=120, trust_env=False) as http:
            thread = (await http.post("/threads", json={})).json()
            run = {
                "assistant_id": "grow",
                "input": {"size": 300_000, "steps": 500},
                "config": {"recursion_limit": 1000},
            }
            result = (await http.post(f"/threads/{thread['thread_id']}/runs/wait", json=run)).json()
            usage = (await http.get("/auth/me/usage")).json()

            assert result["__error__"]["error"] == "StorageQuotaExceeded"
            assert 4 * MIB < usage["stored_bytes"]["threads"] < 8 * MIB
            await http.delete(f"/threads/{thread['thread_id']}")
            await until(lambda: added_up_bytes(database_url) == 0)


def added_up_tokens(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT coalesce(sum(total), 0)::integer FROM model_usage").fetchone()
    return row[0] if row else 0


def added_up_bytes(database_url: str) -> int | None:
    """The bytes of all users' threads once every change is added up; without a row if no sum ever differed from 0."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT (SELECT coalesce(sum(bytes), 0)::bigint FROM stored_bytes WHERE kind = 'threads')"
            " WHERE NOT EXISTS (SELECT FROM stored_bytes_changes)"
        ).fetchone()
    return row[0] if row else None


async def test_registration_needs_an_invitation(serve4: Serve, operate: Operate) -> None:
    with serve4(registration="open") as url, serve4(registration="invitation") as invited:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            admin = await signed_up(http, "admin")
            operate("set-role", "admin@example.com", "admin")
            body = {"email": "new@example.com"}
            invitation = (await http.post("/invitations", json=body, headers=admin)).json()["invitation"]
        async with httpx2.AsyncClient(base_url=invited, timeout=120, trust_env=False) as http:

            async def registered(email: str, **fields: str) -> int:
                account = {"email": email, "name": "New", "password": PASSWORD} | fields
                return (await http.post("/auth/register", json=account)).status_code

            assert await registered("new@example.com") == 403
            assert await registered("other@example.com", invitation=invitation) == 403
            assert await registered("new@example.com", invitation=f"{invitation}x") == 403
            assert await registered("New@example.com", invitation=invitation) == 201
            assert await registered("new@example.com", invitation=invitation) == 409


async def test_registration_can_be_closed(serve4: Serve) -> None:
    with serve4(registration="closed") as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            account = {"email": "new@example.com", "name": "New", "password": PASSWORD}
            refused = await http.post("/auth/register", json=account)

    assert (refused.status_code, refused.json()["type"]) == (403, "urn:problem:forbidden")
