"""Responses that stay open end when their credential is revoked or expires, on real processes.

Every test revokes at one API process, while the responses are open at another.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from jose import jwt
from langgraph_sdk import get_client
from langgraph_sdk.stream.errors import stream_error_frame

from local.services import valkey
from local.state import StageState
from project4_agent_api.accounts.open_responses import CHECK_SECONDS
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import Tokens, bearer, refresh, register, sign_in
from tests.support.agent_runs import GRAPHS
from tests.support.agent_service import AgentService, agent_service
from tests.support.databases import Databases
from tests.support.documents import ready
from tests.support.processes import run as run_command
from tests.support.scripted_model import ScriptedModel, hangs
from tests.support.sse import events_in
from tests.support.until import until

SECONDS = 120  # after which a response is considered hung
NEW_PASSWORD = "another horse battery staple"
Header = dict[str, str]


@pytest.fixture(scope="module")
def service(databases: Databases, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    """The service with capacity for all runs of this module, which outlive their tests."""
    with (
        databases.migrated("project4_agent_api") as url,
        agent_service(url, _redis_server, _model_server, GRAPHS, worker_concurrency="200") as running,
    ):
        yield running


@pytest.fixture(scope="module")
def other_url(service: AgentService) -> str:
    """Another API process of the service."""
    return service.start_api()


@pytest.fixture
async def here(service: AgentService) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the process that revokes."""
    async with client_of(service.url) as client:
        yield client


@pytest.fixture
async def there(other_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the process with the open responses."""
    async with client_of(other_url) as client:
        yield client


def client_of(url: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=url, timeout=SECONDS, trust_env=False)


def new_email() -> str:
    return f"{uuid4()}@example.com"


class Reader:
    """Reads a response in the background until it ends."""

    def __init__(self, name: str, status: int, task: "asyncio.Task[None]") -> None:
        self.name, self.status, self._task = name, status, task
        self.body = b""

    async def end(self) -> str:
        """Wait until the response has ended, and return its body."""
        async with asyncio.timeout(SECONDS):
            await self._task
        return self.body.decode()


class Responses:
    """Responses that one client has opened."""

    def __init__(self, client: httpx2.AsyncClient, headers: Header, log: Path) -> None:
        self._client, self._headers, self._log = client, headers, log
        self._stack = AsyncExitStack()
        self.readers: list[Reader] = []

    def run(self, **options: Any) -> dict[str, Any]:
        """Return the body of a request for a run that does not end by itself."""
        return {"assistant_id": "steps", "input": {"steps": 1, "seconds": 3600, "log": str(self._log)}, **options}

    async def post(self, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
        response = await self._client.post(path, json=body, headers=self._headers)
        assert response.status_code == status, response.text
        created: dict[str, Any] = response.json()
        return created

    async def open(self, method: str, path: str, body: object = None) -> Reader:
        """Open a response, and read it in the background."""
        opened = asyncio.get_running_loop().create_future()

        async def read() -> None:
            async with self._client.stream(method, path, json=body, headers=self._headers) as response:
                opened.set_result(response.status_code)
                async for chunk in response.aiter_bytes():
                    reader.body += chunk

        task = asyncio.create_task(read())
        reader = Reader(f"{method} {path}", 0, task)
        self._stack.callback(task.cancel)
        done, _ = await asyncio.wait([task, opened], return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            await each
        reader.status = opened.result()
        self.readers.append(reader)
        return reader

    async def open_streams(self) -> None:
        """Open every kind of stream of runs and threads."""
        thread_id = (await self.post("/threads", {}))["thread_id"]
        run_id = (await self.post(f"/threads/{thread_id}/runs", self.run()))["run_id"]
        await self.open("GET", f"/threads/{thread_id}/runs/{run_id}/stream")
        await self.open("GET", f"/threads/{thread_id}/stream")
        await self.open("POST", f"/threads/{thread_id}/stream/events", {"channels": ["lifecycle"]})
        await self.open("POST", "/runs/stream", self.run())

    async def all_end(self) -> list[tuple[str, dict[str, Any]]]:
        """Wait until all responses have ended, and return their last events."""
        return [events_in((await reader.end()).replace("\r", ""))[-1] for reader in self.readers]

    async def close(self) -> None:
        await self._stack.aclose()


OpenResponses = Callable[[Header], Responses]


@pytest.fixture
async def open_responses(there: httpx2.AsyncClient, tmp_path: Path) -> AsyncIterator[OpenResponses]:
    """Makes responses at the other process, with the credentials in the headers."""
    async with AsyncExitStack() as stack:

        def make(headers: Header) -> Responses:
            responses = Responses(there, headers, tmp_path / "log")
            stack.push_async_callback(responses.close)
            return responses

        yield make


async def _sign_out(here: httpx2.AsyncClient, tokens: Tokens) -> None:
    (await here.post("/auth/logout", json={"refresh_token": tokens["refresh_token"]})).raise_for_status()


async def _sign_out_everywhere(here: httpx2.AsyncClient, tokens: Tokens) -> None:
    (await here.post("/auth/logout-all", headers=bearer(tokens))).raise_for_status()


async def _reuse_refresh_token(here: httpx2.AsyncClient, tokens: Tokens) -> None:
    assert [(await refresh(here, tokens)).status_code for _ in range(2)] == [200, 401]


async def _change_password(here: httpx2.AsyncClient, tokens: Tokens) -> None:
    email = (await here.get("/auth/me", headers=bearer(tokens))).json()["email"]
    other = await sign_in(here, email)
    body = {"password": NEW_PASSWORD, "old_password": "correct horse battery staple"}
    (await here.patch("/auth/me", json=body, headers=bearer(other))).raise_for_status()


async def _delete_account(here: httpx2.AsyncClient, tokens: Tokens) -> None:
    (await here.delete("/auth/me", headers=bearer(tokens))).raise_for_status()


@pytest.mark.parametrize("revoke", [_sign_out, _sign_out_everywhere, _reuse_refresh_token, _change_password])
async def test_open_streams_end_when_their_sign_in_ends(
    here: httpx2.AsyncClient,
    there: httpx2.AsyncClient,
    signed_up: tuple[str, Tokens],
    responses: Responses,
    revoke: Callable[[httpx2.AsyncClient, Tokens], Awaitable[None]],
) -> None:
    _, tokens = signed_up
    await responses.open_streams()

    await revoke(here, tokens)

    ends = await responses.all_end()
    assert [reader.status for reader in responses.readers] == [200] * 4
    assert [name for name, _ in ends] == ["error"] * 4
    assert [data["status"] for _, data in ends] == [401] * 4
    assert (await there.get("/auth/me", headers=bearer(tokens))).status_code == 401


@pytest.fixture
async def signed_up(here: httpx2.AsyncClient) -> tuple[str, Tokens]:
    """The e-mail of a new account, and its tokens."""
    email = new_email()
    await register(here, email)
    return email, await sign_in(here, email)


@pytest.fixture
def responses(signed_up: tuple[str, Tokens], open_responses: OpenResponses) -> Responses:
    """Responses with the access token of the new account."""
    return open_responses(bearer(signed_up[1]))


async def new_key(here: httpx2.AsyncClient, tokens: Tokens, **options: str) -> dict[str, str]:
    created = await here.post("/auth/api-keys", json={"name": "key", **options}, headers=bearer(tokens))
    created.raise_for_status()
    key: dict[str, str] = created.json()
    return key


async def test_open_streams_end_when_their_key_is_deleted(
    here: httpx2.AsyncClient, signed_up: tuple[str, Tokens], open_responses: OpenResponses
) -> None:
    _, tokens = signed_up
    key = await new_key(here, tokens)
    responses = open_responses({"X-Api-Key": key["key"]})
    await responses.open_streams()

    await _sign_out_everywhere(here, tokens)  # keys stay valid
    email, _ = signed_up
    (await here.delete(f"/auth/api-keys/{key['id']}", headers=bearer(await sign_in(here, email)))).raise_for_status()

    assert [(name, data["status"]) for name, data in await responses.all_end()] == [("error", 401)] * 4


async def test_open_streams_end_when_their_key_expires(
    here: httpx2.AsyncClient,
    signed_up: tuple[str, Tokens],
    open_responses: OpenResponses,
    service: AgentService,
) -> None:
    key = await new_key(here, signed_up[1])
    responses = open_responses({"X-Api-Key": key["key"]})
    await responses.open_streams()

    with psycopg.connect(service.environment["DATABASE_URL"]) as connection:
        connection.execute("UPDATE api_keys SET expires_at = now() WHERE id = %s", [key["id"]])

    assert [(name, data["status"]) for name, data in await responses.all_end()] == [("error", 401)] * 4


@pytest.mark.parametrize("credential", ["token", "key"])
async def test_open_streams_end_when_their_account_is_deactivated(
    here: httpx2.AsyncClient,
    signed_up: tuple[str, Tokens],
    open_responses: OpenResponses,
    service: AgentService,
    credential: str,
) -> None:
    email, tokens = signed_up
    headers = bearer(tokens) if credential == "token" else {"X-Api-Key": (await new_key(here, tokens))["key"]}
    responses = open_responses(headers)
    await responses.open_streams()

    deactivated = await asyncio.to_thread(
        run_command, "project4_agent_api", "deactivate", email, environment=service.environment
    )

    assert deactivated.returncode == 0, deactivated.stderr
    assert [(name, data["status"]) for name, data in await responses.all_end()] == [("error", 401)] * 4


async def test_open_streams_end_when_their_account_is_deleted(
    here: httpx2.AsyncClient, signed_up: tuple[str, Tokens], responses: Responses
) -> None:
    await responses.open_streams()

    await _delete_account(here, signed_up[1])

    assert len(await responses.all_end()) == 4  # some with the end of their run, which is deleted first


async def test_waiting_requests_end_when_their_sign_in_ends(
    here: httpx2.AsyncClient, signed_up: tuple[str, Tokens], responses: Responses
) -> None:
    _, tokens = signed_up
    thread_id = (await responses.post("/threads", {}))["thread_id"]
    run_id = (await responses.post(f"/threads/{thread_id}/runs", responses.run()))["run_id"]
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/runs/wait", responses.run()),
        ("GET", f"/threads/{thread_id}/runs/{run_id}/join", None),
    ]
    pinged = [await responses.open(*request) for request in requests]  # open from the first ping on
    silent = [asyncio.create_task(responses.open(*request)) for request in requests]
    await until(lambda: all(reader.body for reader in pinged))

    await _sign_out(here, tokens)

    for reader in [*pinged, *await asyncio.gather(*silent)]:
        body = json.loads(await reader.end())
        if reader.status == 200:
            assert body["__error__"]["error"] == "Unauthorized"
        else:
            assert (reader.status, body["type"]) == (401, "urn:problem:unauthorized")
    assert {reader.status for reader in pinged} == {200}


async def test_streams_of_the_earlier_stages_end_when_their_sign_in_ends(
    here: httpx2.AsyncClient,
    there: httpx2.AsyncClient,
    signed_up: tuple[str, Tokens],
    responses: Responses,
    model: ScriptedModel,
) -> None:
    _, tokens = signed_up
    there.headers.update(bearer(tokens))
    await ready(there, "The library opens at nine.", "hours.txt")
    model.says("The library opens at nine [1]. More follows", last_word_after=threading.Event())
    await responses.open("POST", "/ask/stream", {"question": "When does the library open?"})
    await responses.open("POST", "/documents/ask/stream", {"question": "When does the library open?"})
    model.embeds(hangs())
    document = (await there.post("/documents", files={"file": ("other.txt", b"It closes at six.")})).json()
    await responses.open("GET", f"/documents/{document['id']}/events")

    await _sign_out(here, tokens)

    ends = await responses.all_end()
    assert [(name, data["type"], data["status"]) for name, data in ends] == [
        ("error", "urn:problem:unauthorized", 401)
    ] * 3


def expiring(service: AgentService, tokens: Tokens, seconds: float) -> Header:
    """Return headers with a token of the same sign-in that expires in so many seconds."""
    claims = jwt.get_unverified_claims(tokens["access_token"]) | {"exp": int(time.time() + seconds)}
    return {"Authorization": f"Bearer {jwt.encode(claims, service.environment['JWT_SECRET'], algorithm='HS256')}"}


async def test_open_streams_end_when_their_token_expires(
    there: httpx2.AsyncClient,
    signed_up: tuple[str, Tokens],
    open_responses: OpenResponses,
    service: AgentService,
) -> None:
    _, tokens = signed_up
    headers = expiring(service, tokens, 4)
    responses = open_responses(headers)
    await responses.open_streams()
    waiting = await there.post("/runs/wait", json=responses.run(), headers=headers)

    ends = await responses.all_end()
    refused = await there.get("/auth/me", headers=headers)

    assert [(name, data["status"]) for name, data in ends] == [("error", 401)] * 4
    assert refused.status_code == 401
    assert waiting.status_code == 401 or waiting.json()["__error__"]["error"] == "Unauthorized"


async def test_run_continues_after_its_token_has_expired(
    there: httpx2.AsyncClient,
    signed_up: tuple[str, Tokens],
    open_responses: OpenResponses,
    service: AgentService,
) -> None:
    """Its client reconnects with a new token, and misses no event."""
    _, tokens = signed_up
    responses = open_responses(expiring(service, tokens, 2))
    body = responses.run(on_disconnect="cancel", stream_mode=["custom"])
    body["input"] |= {"steps": 2, "seconds": 8}
    thread_id = (await responses.post("/threads", {}))["thread_id"]
    reader = await responses.open("POST", f"/threads/{thread_id}/runs/stream", body)

    first = events_in((await reader.end()).replace("\r", ""))
    run_id = first[0][1]["run_id"]
    last_id = [line.removeprefix("id: ") for line in reader.body.decode().splitlines() if line.startswith("id: ")][-1]
    async with get_client(url=str(there.base_url), api_key=None, headers=bearer(tokens)) as client:
        rest = [part async for part in client.runs.join_stream(thread_id, run_id, last_event_id=last_id)]
        run = await client.runs.get(thread_id, run_id)

    assert [name for name, _ in first] == ["metadata", "custom", "error"]
    assert [part.data for part in rest if part.event == "custom"] == [{"step": 1}]
    assert run["status"] == "success"


@pytest.mark.parametrize(("on_disconnect", "continues"), [("cancel", False), ("continue", True)])
async def test_run_continues_after_revocation_unless_it_ends_with_its_client(
    here: httpx2.AsyncClient,
    signed_up: tuple[str, Tokens],
    responses: Responses,
    on_disconnect: str,
    continues: bool,
) -> None:
    email, tokens = signed_up
    thread_id = (await responses.post("/threads", {}))["thread_id"]
    body = responses.run(on_disconnect=on_disconnect)
    reader = await responses.open("POST", f"/threads/{thread_id}/runs/stream", body)
    await until(lambda: b"event: metadata" in reader.body)

    await _sign_out(here, tokens)
    await reader.end()

    async with get_client(url=str(here.base_url), api_key=None, headers=bearer(await sign_in(here, email))) as client:
        (run,) = await client.runs.list(thread_id)
        if not continues:
            await client.runs.join(thread_id, run["run_id"])
            (run,) = await client.runs.list(thread_id)
    assert run["status"] == ("running" if continues else "interrupted")


async def test_refreshing_the_tokens_ends_no_stream(
    here: httpx2.AsyncClient, signed_up: tuple[str, Tokens], responses: Responses
) -> None:
    _, tokens = signed_up
    body = responses.run()
    body["input"]["seconds"] = 2 * CHECK_SECONDS + 1
    reader = await responses.open("POST", "/runs/stream", body)

    assert (await refresh(here, tokens)).status_code == 200

    assert [name for name, _ in events_in((await reader.end()).replace("\r", ""))][-1] == "values"


async def test_clients_of_langgraph_read_why_a_stream_ended(
    here: httpx2.AsyncClient,
    there: httpx2.AsyncClient,
    signed_up: tuple[str, Tokens],
    responses: Responses,
) -> None:
    _, tokens = signed_up
    thread_id = (await responses.post("/threads", {}))["thread_id"]
    run_id = (await responses.post(f"/threads/{thread_id}/runs", responses.run()))["run_id"]
    protocol = await responses.open("POST", f"/threads/{thread_id}/stream/events", {"channels": ["lifecycle"]})
    async with get_client(url=str(there.base_url), api_key=None, headers=bearer(tokens)) as client:
        joined = aiter(client.runs.join_stream(thread_id, run_id))
        await anext(joined)
        await _sign_out(here, tokens)
        *_, last = [part async for part in joined]

    assert (last.event, last.data["error"]) == ("error", "Unauthorized")
    assert "Sign in again" in last.data["message"]
    *_, (_, frame) = events_in((await protocol.end()).replace("\r", ""))
    assert "permission_denied" in str(stream_error_frame(frame))


async def test_open_streams_end_without_redis(
    serve4: Serve, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    state = StageState("tests")
    state.folder = tmp_path_factory.mktemp("valkey")
    child, found_by = valkey(state, {})
    await child.start()
    stopped = False
    try:
        with serve4(redis_url=found_by["REDIS_URL"]) as one, serve4(redis_url=found_by["REDIS_URL"]) as two:
            async with client_of(one) as here, client_of(two) as there:
                await register(here, "ada@example.com")
                tokens = await sign_in(here, "ada@example.com")
                responses = Responses(there, bearer(tokens), tmp_path / "log")
                thread_id = (await responses.post("/threads", {}))["thread_id"]
                await responses.open("GET", f"/threads/{thread_id}/stream")
                await child.stop()
                stopped = True

                await _sign_out(here, tokens)

                assert [(name, data["status"]) for name, data in await responses.all_end()] == [("error", 401)]
    finally:
        if not stopped:
            await child.stop()
