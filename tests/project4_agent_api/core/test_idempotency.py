"""`Idempotency-Key`: a repeated request is executed once, even after a crash in between."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from project4_agent_api.settings import Settings
from project4_agent_api.worker import create_worker
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import bearer, register, sign_in
from tests.support.running import running

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"
KEY = {"Idempotency-Key": "order-66"}
RUN = {"assistant_id": "talk", "input": {"messages": [{"role": "user", "content": "one"}]}}

KEPT = {"on_completion": "keep"}
AN_ID = "01a20c50-5b86-761b-bf50-fe632e4213db"


@pytest.fixture
async def clients(serve4: Serve, make_settings4: Callable[..., Settings]) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """Ada's clients of two API processes, then Bob's of the first; a worker executes their runs."""
    async with AsyncExitStack() as stack:
        stack.enter_context(running(create_worker(make_settings4(langgraph_config=GRAPHS))))
        urls = [stack.enter_context(serve4(langgraph_config=GRAPHS, lease_seconds=2)) for _ in range(2)]
        made: list[httpx2.AsyncClient] = []
        for email, url in [("ada@example.com", urls[0]), ("ada@example.com", urls[1]), ("bob@example.com", urls[0])]:
            client = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False))
            if email not in {one.headers.get("X-Name") for one in made}:
                await register(client, email)
            client.headers.update(bearer(await sign_in(client, email)) | {"X-Name": email})
            made.append(client)
        yield made


def count(database_url: str, table: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  a name from this test
    assert row
    return int(row[0])


async def test_stored_fingerprint_resists_guessing(clients: list[httpx2.AsyncClient], database_url: str) -> None:
    for key in ("one", "two"):
        made = await clients[0].post("/threads", json={}, headers={"Idempotency-Key": key})
        assert made.status_code == 200

    with psycopg.connect(database_url) as connection:
        stored = [row[0] for row in connection.execute("SELECT fingerprint FROM idempotency_keys")]
    assert len(set(stored)) == 2  # of one body


@pytest.mark.parametrize(
    ("path", "body", "table"),
    [
        ("/threads", {"metadata": {"a": 1}}, "threads"),
        ("/assistants", {"graph_id": "talk", "name": "mine"}, "assistant_versions"),
        ("/runs", RUN | KEPT, "runs"),
        ("/runs/batch", [RUN | KEPT] * 2, "runs"),
        ("/runs/crons", RUN | {"schedule": "0 0 1 1 *"}, "crons"),
    ],
)
async def test_repeated_request_is_executed_once(
    clients: list[httpx2.AsyncClient], database_url: str, path: str, body: dict[str, Any] | list[Any], table: str
) -> None:
    ada, there, bob = clients
    before = count(database_url, table)
    first = await ada.post(path, json=body, headers=KEY)
    made = count(database_url, table) - before

    again = await there.post(path, json=body, headers=KEY)

    assert (first.is_success, made > 0) == (True, True)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for name in ("content-type", "location", "content-location"):
        assert again.headers.get(name) == first.headers.get(name)
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    assert "ratelimit-limit" in again.headers
    assert count(database_url, table) - before == made

    other_body = await ada.post(
        path, content=json.dumps(body) + " ", headers=KEY | {"Content-Type": "application/json"}
    )
    assert other_body.status_code == 422
    assert other_body.json()["type"] == "urn:problem:idempotency-key-reused"
    assert (await bob.post(path, json=body, headers=KEY)).content != first.content
    assert (await ada.post(path, json=body, headers={"Idempotency-Key": "another"})).content != first.content


async def test_20_concurrent_requests_in_two_processes_run_once(
    clients: list[httpx2.AsyncClient], database_url: str
) -> None:
    ada, there, _ = clients
    # FastAPI puts a route together at its first request, and sets the warnings of all threads aside meanwhile.
    for one in (ada, there):
        await one.post("/threads", json={})

    answers = await asyncio.gather(
        *((ada, there)[i % 2].post("/threads", json={"metadata": {}}, headers=KEY) for i in range(20))
    )

    statuses = Counter(answer.status_code for answer in answers)
    assert statuses[200] + statuses[409] == 20
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 409} <= {"1"}
    assert count(database_url, "threads") == 3


def content(answer: httpx2.Response) -> object:
    """Return an answer's JSON, or the lines of its stream but for the signs of life."""
    if answer.headers["content-type"] == "application/json":
        return answer.json()
    return [line for line in answer.text.splitlines() if line and not line.startswith(":")]


async def test_repeated_wait_or_stream_joins_one_run(
    clients: list[httpx2.AsyncClient], database_url: str, tmp_path: Path
) -> None:
    ada, there, _ = clients
    thread = (await ada.post("/threads", json={})).json()["thread_id"]
    steps = {"assistant_id": "steps", "input": {"steps": 3, "seconds": 0.2, "log": str(tmp_path / "log")}}

    for path in (f"/threads/{thread}/runs/stream", f"/threads/{thread}/runs/wait"):
        before = count(database_url, "runs")
        first = asyncio.create_task(ada.post(path, json=steps, headers=KEY))
        while count(database_url, "runs") == before:  # noqa: ASYNC110  it is made by another process
            await asyncio.sleep(0.02)
        joined = await there.post(path, json=steps, headers=KEY)
        late = await there.post(path, json=steps, headers=KEY)

        assert count(database_url, "runs") == before + 1
        assert joined.status_code == late.status_code == (await first).status_code == 200
        assert content(joined) == content(late) == content(await first)
        assert joined.headers["location"] == late.headers["location"] == (await first).headers["location"]


async def test_deleted_stateless_run_is_not_repeated(clients: list[httpx2.AsyncClient], database_url: str) -> None:
    ada, _, _ = clients
    for path, status in (("/runs/wait", 200), ("/runs/stream", 409)):
        first = await ada.post(path, json=RUN, headers=KEY)
        while count(database_url, "runs"):  # noqa: ASYNC110  it is removed by another process
            await asyncio.sleep(0.02)

        again = await ada.post(path, json=RUN, headers=KEY)

        assert again.status_code == status
        assert count(database_url, "runs") == 0
        assert status == 409 or again.json() == first.json()


async def test_failed_request_releases_the_key(clients: list[httpx2.AsyncClient]) -> None:
    ada, _, _ = clients

    refused = await ada.post("/threads", json={"metadata": 1}, headers=KEY)
    missing = await ada.post("/runs", json=RUN | {"assistant_id": AN_ID}, headers=KEY)

    assert (refused.status_code, missing.status_code) == (422, 404)
    assert (await ada.post("/threads", json={}, headers=KEY)).status_code == 200
    assert (await ada.post("/runs", json=RUN, headers=KEY)).status_code == 200


async def test_upload_fingerprint_ignores_the_boundary(clients: list[httpx2.AsyncClient], database_url: str) -> None:
    ada, there, _ = clients
    large = b"".join(hashlib.sha256(b"%d" % i).hexdigest().encode() + b" word\n" for i in range(30_000))

    def form(boundary: str, content: bytes) -> dict[str, Any]:
        head = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' % boundary.encode()
        return {
            "content": head + content + b"\r\n--%b--\r\n" % boundary.encode(),
            "headers": KEY | {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        }

    first = await ada.post("/documents", **form("one-boundary", large))
    again = await there.post("/documents", **form("quite-another-boundary", large))
    other = await ada.post("/documents", **form("one-boundary", large + b"!"))

    assert first.status_code == 202
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert other.status_code == 422
    assert count(database_url, "documents") == 1


async def test_request_of_a_dead_process_is_taken_over(clients: list[httpx2.AsyncClient], database_url: str) -> None:
    ada, _, _ = clients
    made = (await ada.post("/runs", json=RUN | KEPT, headers=KEY)).json()
    thread = (await ada.post("/threads", json={"metadata": {}}, headers=KEY)).json()
    with psycopg.connect(database_url, autocommit=True) as connection:  # as if each had died before its answer was kept
        connection.execute(
            "UPDATE idempotency_keys SET status = NULL, headers = NULL, body = NULL, made = false,"
            " lease_until = now() + interval '1 minute'"
        )
        assert (await ada.post("/threads", json={"metadata": {}}, headers=KEY)).status_code == 409
        connection.execute("UPDATE idempotency_keys SET lease_until = now()")

        run = (await ada.post("/runs", json=RUN | KEPT, headers=KEY)).json()
        assert run["run_id"] == made["run_id"]  # it was stored, and is not made again
        another = (await ada.post("/threads", json={"metadata": {}}, headers=KEY)).json()
        assert another["thread_id"] != thread["thread_id"]


async def test_batch_with_a_lost_response_is_not_repeated(clients: list[httpx2.AsyncClient], database_url: str) -> None:
    ada, there, _ = clients
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_LOSE_ANSWERS)
        assert (await ada.post("/runs/batch", json=[RUN | KEPT] * 2, headers=KEY)).status_code == 200

        connection.execute("UPDATE idempotency_keys SET lease_until = now() + interval '1 hour'")
        early = await there.post("/runs/batch", json=[RUN | KEPT] * 2, headers=KEY)
        connection.execute("UPDATE idempotency_keys SET lease_until = now()")
        late = await there.post("/runs/batch", json=[RUN | KEPT] * 2, headers=KEY)

    assert (early.status_code, early.headers.get("retry-after")) == (409, "1")
    assert (late.status_code, late.headers.get("retry-after")) == (409, None)
    assert count(database_url, "runs") == 2


# As if each process died between its work and storing the response.
_LOSE_ANSWERS = """
    CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER lose BEFORE UPDATE ON idempotency_keys FOR EACH ROW WHEN (NEW.status IS NOT NULL)
        EXECUTE FUNCTION lose();
"""


@pytest.mark.parametrize("key", ["", "two words", "é", "x" * 256])
async def test_malformed_key_is_rejected(clients: list[httpx2.AsyncClient], key: str) -> None:
    answer = await clients[0].post("/threads", json={}, headers=[(b"Idempotency-Key", key.encode())])

    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["header", "Idempotency-Key"])


async def test_responses_with_secrets_are_not_stored(clients: list[httpx2.AsyncClient], database_url: str) -> None:
    ada = clients[0]

    keys = [(await ada.post("/auth/api-keys", json={"name": "job"}, headers=KEY)).json()["key"] for _ in range(2)]

    assert keys[0] != keys[1]
    assert count(database_url, "idempotency_keys") == 0
    document = (await ada.get("/openapi.json")).json()
    taking = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", []))
    }
    assert {"/threads", "/documents", "/runs/stream", "/users"} <= taking
    assert not any(path.startswith("/auth") for path in taking)
    assert "409" in document["paths"]["/threads/{thread_id}/copy"]["post"]["responses"]
