"""A steady load from clients that count their results: requests at a pace, and streams that follow each other."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.support.sse import events_of

REQUESTS_PER_SECOND = 20
STREAMS = 20
WORDS = 50
ANSWER = " ".join(f"word{number}" for number in range(WORDS))


@dataclass
class Load:
    """Counts of the clients' results.

    Attributes:
        url: The service's base URL.
        accounts: Headers of the accounts that ask, one for each stream.
        answered: How many requests had the answer that they should have.
        failed: The failures by kind, each with its count.
        streams: How many streams reached their end, with the whole answer.
        broken: The broken streams by kind, each with its count.
        runs: Thread and run of each stream, and whose they are.
    """

    url: str
    accounts: list[dict[str, str]]
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    streams: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    runs: list[tuple[int, str, str]] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Load the service while the block runs; started requests are finished."""
        limits = httpx2.Limits(max_connections=None)
        async with (
            httpx2.AsyncClient(base_url=self.url, timeout=120, trust_env=False, limits=limits) as http,
            asyncio.TaskGroup() as clients,
        ):
            clients.create_task(self._request(http))
            for account in range(STREAMS):
                clients.create_task(self._stream(http, account))
            try:
                yield
            finally:
                self.stopping.set()

    def __str__(self) -> str:
        return (
            f"{self.answered} requests answered, {self.failed.total()} failed {dict(self.failed)}; "
            f"{self.streams} streams to their end, {self.broken.total()} broken {dict(self.broken)}; "
            f"{len(self.runs)} runs"
        )

    async def _request(self, http: httpx2.AsyncClient) -> None:
        async with asyncio.TaskGroup() as requests:
            for number in itertools.count():
                if self.stopping.is_set():
                    return
                requests.create_task(self._one_request(http, number))
                await asyncio.sleep(1 / REQUESTS_PER_SECOND)

    async def _one_request(self, http: httpx2.AsyncClient, number: int) -> None:
        headers = self.accounts[number % len(self.accounts)]
        asked: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", "/auth/me", {}),
            ("POST", "/threads", {"json": {"metadata": {"number": number}}}),
            ("POST", "/threads/search", {"json": {"limit": 5}}),
            ("GET", "/documents", {}),
        ]
        method, path, more = asked[number % len(asked)]
        try:
            answer = await http.request(method, path, headers=headers, **more)
        except httpx2.HTTPError as error:
            self.failed[f"{method} {path}: {type(error).__name__} {error}"] += 1
            return
        if answer.status_code == 200:
            self.answered += 1
        else:
            self.failed[f"{method} {path}: {answer.status_code} {answer.text[:200]}"] += 1

    async def _stream(self, http: httpx2.AsyncClient, account: int) -> None:
        headers = self.accounts[account]
        await asyncio.sleep(account / STREAMS)
        while not self.stopping.is_set():
            with contextlib.suppress(httpx2.HTTPError):
                thread = (await http.post("/threads", json={}, headers=headers)).raise_for_status().json()["thread_id"]
                await self._one_stream(http, account, thread)
                continue
            self.broken["no thread"] += 1

    async def _one_stream(self, http: httpx2.AsyncClient, account: int, thread: str) -> None:
        question = {"messages": [{"role": "user", "content": f"{WORDS} words, 100 ms apart"}]}
        asked = {"assistant_id": "agent", "input": question, "stream_mode": ["values", "messages-tuple"]}
        last: Any = None
        try:
            headers = self.accounts[account]
            async with http.stream("POST", f"/threads/{thread}/runs/stream", json=asked, headers=headers) as answer:
                if answer.status_code != 200:
                    self.broken[f"{answer.status_code} {(await answer.aread())[:200]!r}"] += 1
                    return
                self.runs.append((account, thread, answer.headers["Content-Location"].rpartition("/")[2]))
                async for name, data in events_of(answer):
                    if name == "error":
                        self.broken[f"error event {data}"] += 1
                        return
                    if name == "values":
                        last = data
        except httpx2.HTTPError as error:
            self.broken[f"{type(error).__name__} {error}"] += 1
            return
        if last and last["messages"][-1]["content"] == ANSWER:
            self.streams += 1
        else:
            self.broken[f"ended without the answer, at {str(last)[-200:]}"] += 1

    async def lost(self) -> Counter[str]:
        """Return the statuses of the runs that did not succeed."""
        statuses: Counter[str] = Counter()
        async with httpx2.AsyncClient(base_url=self.url, timeout=120, trust_env=False) as http:
            for account, thread, run in self.runs:
                answer = await http.get(f"/threads/{thread}/runs/{run}", headers=self.accounts[account])
                statuses[answer.raise_for_status().json()["status"]] += 1
        del statuses["success"]
        return statuses
