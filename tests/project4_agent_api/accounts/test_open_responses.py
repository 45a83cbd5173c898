"""Responses that stay open end when their credential is revoked or expires, on real processes.

Every test revokes at one API process, while the responses are open at another.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.support.accounts import Tokens, bearer, refresh, register, sign_in
from tests.support.agent_runs import GRAPHS
from tests.support.agent_service import AgentService, agent_service
from tests.support.databases import Databases
from tests.support.scripted_model import ScriptedModel
from tests.support.sse import events_in

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


@pytest.fixture
async def open_responses(there: httpx2.AsyncClient, tmp_path: Path) -> AsyncIterator[Callable[[Header], Responses]]:
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
    open_responses: Callable[[Header], Responses],
    revoke: Callable[[httpx2.AsyncClient, Tokens], Awaitable[None]],
) -> None:
    email = new_email()
    await register(here, email)
    tokens = await sign_in(here, email)
    responses = open_responses(bearer(tokens))
    await responses.open_streams()

    await revoke(here, tokens)

    ends = await responses.all_end()
    assert [reader.status for reader in responses.readers] == [200] * 4
    assert [name for name, _ in ends] == ["error"] * 4
    assert [data["status"] for _, data in ends] == [401] * 4
    assert (await there.get("/auth/me", headers=bearer(tokens))).status_code == 401
