"""Processes and servers that are killed, frozen, restarted and cut off: no run is lost, none ends twice, all end."""

import asyncio
import json
import os
import resource
import signal
import time
from collections import Counter
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx  # by which LangGraph's client asks
import httpx2
import psutil
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError

from tests.faults.stack import LEASE_SECONDS, Stack
from tests.support.until import until

pytestmark = pytest.mark.slow

LONG = os.environ.get("FAULTS") == "long"
OUTAGE_SECONDS = 20 if LONG else 5
RUNS = 40 if LONG else 8


@dataclass
class Work:
    """Runs that take some steps, and what their steps have written down.

    Attributes:
        runs: The threads, the runs, and the logs of their steps.
        waiting: Waits for each.
        following: Reads each one's events.
        seen: Events that were read.
    """

    runs: list[tuple[str, str, Path]] = field(default_factory=list)
    waiting: list[asyncio.Task[Any]] = field(default_factory=list)
    following: list[asyncio.Task[list[Any]]] = field(default_factory=list)
    seen: list[list[Any]] = field(default_factory=list)

    @classmethod
    async def begin(cls, client: LangGraphClient, folder: Path, *, runs: int = RUNS, steps: int = 5) -> "Work":
        """Begin with it, and return when some of it is done."""
        work = cls()
        for number in range(runs):
            log = folder / f"{number}.log"
            thread_id = (await client.threads.create())["thread_id"]
            asked: dict[str, Any] = {"steps": steps, "seconds": 0.3, "log": str(log)}
            run = await client.runs.create(thread_id, "steps", input=asked, stream_mode="custom", durability="sync")
            work.runs.append((thread_id, run["run_id"], log))
        work.waiting = [asyncio.create_task(result(client, thread, run)) for thread, run, _ in work.runs]
        work.follow_again(client)
        await until(lambda: sum(len(seen) > 1 for seen in work.seen) >= min(runs, 8))
        return work

    async def waiters_are_cut_off(self) -> None:
        """Make sure that a waiting client notices that the connection is gone."""
        for one in self.waiting:
            with pytest.raises(httpx.TransportError):
                await one

    def follow_again(self, client: LangGraphClient) -> None:
        """Read all events."""
        self.seen = [[] for _ in self.runs]
        self.following = [
            asyncio.create_task(events(client, thread, run, seen))
            for (thread, run, _), seen in zip(self.runs, self.seen, strict=True)
        ]

    def wait_again(self, client: LangGraphClient) -> None:
        """Wait for all of it once more."""
        self.waiting = [asyncio.create_task(result(client, thread, run)) for thread, run, _ in self.runs]

    async def all_succeed(self, stack: Stack, *, steps: int = 5, again: int = 1) -> None:
        """Make sure that all of it comes to its end, once, and that its subscribers are notified.

        Args:
            stack: Where.
            steps: Number of steps of each run.
            again: How many steps of a run may have been cut short, and taken once more.
        """
        for result in await asyncio.gather(*self.waiting):
            assert result["done"] == list(range(steps))
        for parts in await asyncio.gather(*self.following):
            assert len({part.id for part in parts}) == len(parts)
            assert [part.data["step"] for part in parts if part.event == "custom"][-1] == steps - 1
        await asyncio.to_thread(self.audit, stack, steps=steps, again=again)

    def audit(self, stack: Stack, *, steps: int = 5, again: int = 1) -> None:
        """Make sure that all of it is stored as done, with no step left out."""
        stack.audit()
        statuses = stack.rows(
            "SELECT status FROM runs WHERE run_id = ANY(%s::uuid[])", [run_id for _, run_id, _ in self.runs]
        )
        assert Counter(row["status"] for row in statuses) == {"success": len(self.runs)}
        for _, _, log in self.runs:
            taken = Counter(int(line.split()[0]) for line in log.read_text().splitlines())
            assert set(taken) == set(range(steps))
            assert taken.total() <= steps + again

    def taken_over(self, stack: Stack) -> list[dict[str, Any]]:
        """Give those of its runs that a worker has taken over from another."""
        runs = [run_id for _, run_id, _ in self.runs]
        return stack.rows("SELECT run_id FROM runs WHERE run_id = ANY(%s::uuid[]) AND attempt > 1", runs)


async def result(client: LangGraphClient, thread_id: str, run_id: str) -> Any:  # noqa: ANN401  any JSON
    """Wait for a run; wait again if a server is unavailable at the start."""
    while True:
        try:
            return await client.runs.join(thread_id, run_id)
        except (httpx.HTTPStatusError, APIStatusError) as error:
            if error.response.status_code != 503:
                raise
            await asyncio.sleep(0.5)


async def events(client: LangGraphClient, thread_id: str, run_id: str, seen: list[Any]) -> list[Any]:
    """Read a run's events to its end; likewise."""
    while True:
        seen.clear()
        try:
            async for part in client.runs.join_stream(thread_id, run_id):
                seen.append(part)  # noqa: PERF401  other tasks inspect the partial list
        except (httpx.HTTPStatusError, APIStatusError) as error:
            if error.response.status_code != 503:
                raise
            await asyncio.sleep(0.5)
        else:
            return seen


async def test_runs_survive_a_killed_worker(stack: Stack, client: LangGraphClient, tmp_path: Path) -> None:
    work = await Work.begin(client, tmp_path, steps=20)

    stack.kill_worker()
    await asyncio.to_thread(stack.service.start_worker)

    await work.all_succeed(stack, steps=20)
    assert work.taken_over(stack)


async def test_end_is_published_after_its_worker_was_killed(stack: Stack, client: LangGraphClient) -> None:
    stack.kill_worker()
    threads = [(await client.threads.create())["thread_id"] for _ in range(2)]
    runs = [(await client.runs.create(thread, "steps", input={}))["run_id"] for thread in threads]
    readers = [
        asyncio.create_task(result(client, threads[0], runs[0])),
        asyncio.create_task(events(client, threads[0], runs[0], [])),
        asyncio.create_task(first_that_is_over(client, threads[0])),
        asyncio.create_task(first_life(client, threads[1])),
    ]
    channels = [f"run:{runs[0]}:end", f"run:{runs[0]}", *(f"thread:{thread}" for thread in threads)]
    await until(lambda: all(map(stack.is_heard, channels)))

    stack.end_and_say_nothing({"done": [0]})

    async with asyncio.timeout(120):  # until they are taken for hung
        told = await asyncio.gather(*readers)
    assert told == [{"done": [0]}, [], runs[0], "completed"]
    await asyncio.to_thread(stack.service.start_worker)
    stack.audit()


async def first_that_is_over(client: LangGraphClient, thread_id: str) -> str:
    """Read a thread's stream as far as the end of a run; return which one."""
    stream = await client.threads.join_stream(thread_id)
    async with aclosing(stream) as parts:  # type: ignore[type-var]  # it is a generator
        return await anext(part.data["run_id"] async for part in parts if part.data.get("status") == "run_done")


async def first_life(client: LangGraphClient, thread_id: str) -> str:
    """Read a thread's stream by the protocol as far as something in a run's life; return what."""
    path = f"/threads/{thread_id}/stream/events"
    async with client.http.client.stream("POST", path, json={"channels": ["lifecycle"]}) as answer:
        lines = answer.aiter_lines()
        data = await anext(line.removeprefix("data:") async for line in lines if line.startswith("data:"))
    event: str = json.loads(data)["params"]["data"]["event"]
    return event


async def test_runs_survive_a_killed_api_process(stack: Stack, client: LangGraphClient, tmp_path: Path) -> None:
    work = await Work.begin(client, tmp_path, runs=4, steps=20)

    stack.kill_api()
    await work.waiters_are_cut_off()
    await asyncio.to_thread(stack.service.replace_api)

    work.wait_again(client)
    for one in work.following:  # LangGraph's client has come back by itself
        assert [part.data["step"] for part in await one if part.event == "custom"] == list(range(20))
    await work.all_succeed(stack, steps=20, again=0)


async def test_runs_survive_killed_api_and_worker(stack: Stack, client: LangGraphClient, tmp_path: Path) -> None:
    work = await Work.begin(client, tmp_path, runs=8, steps=20)

    stack.kill_api()
    stack.kill_worker()
    await work.waiters_are_cut_off()
    await asyncio.to_thread(stack.service.replace_api)
    await asyncio.to_thread(stack.service.start_worker)

    work.wait_again(client)
    await work.all_succeed(stack, steps=20)
    assert work.taken_over(stack)


async def test_runs_survive_a_worker_frozen_beyond_its_lease(
    stack: Stack, client: LangGraphClient, tmp_path: Path
) -> None:
    work = await Work.begin(client, tmp_path, runs=4, steps=20)

    stack.service.workers[0].send_signal(signal.SIGSTOP)
    await asyncio.sleep(2 * LEASE_SECONDS)
    stack.service.workers[0].send_signal(signal.SIGCONT)

    await work.all_succeed(stack, steps=20)


async def test_resumed_worker_has_lost_its_runs(stack: Stack, client: LangGraphClient, tmp_path: Path) -> None:
    work = await Work.begin(client, tmp_path, runs=4, steps=8)

    frozen = stack.service.workers[0]
    frozen.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(stack.service.start_worker)
    await until(lambda: all(log.read_text().count("\n") >= 6 for _, _, log in work.runs))
    frozen.send_signal(signal.SIGCONT)

    await work.all_succeed(stack, steps=8, again=2)
    stack.service.workers.remove(frozen)
    frozen.terminate()
    assert await asyncio.to_thread(frozen.wait, 30) == 0


async def test_runs_survive_an_empty_redis(stack: Stack, client: LangGraphClient, tmp_path: Path) -> None:
    work = await Work.begin(client, tmp_path, steps=20)

    await asyncio.to_thread(stack.restart_valkey_empty)

    await work.all_succeed(stack, steps=20, again=0)


async def test_runs_survive_a_restart_of_postgresql(stack: Stack, client: LangGraphClient, tmp_path: Path) -> None:
    work = await Work.begin(client, tmp_path, steps=20)

    await asyncio.to_thread(stack.restart_postgres)

    await work.all_succeed(stack, steps=20)


async def test_no_request_fails_after_postgresql_recovers(stack: Stack, client: LangGraphClient) -> None:
    await asyncio.gather(*(client.threads.create() for _ in range(60)))
    (open_now,) = stack.rows(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'ai-backend-capstones'"
    )
    assert open_now["n"] > 5  # that will be dead, each of them, when it is wanted again

    await asyncio.to_thread(stack.restart_postgres)

    for _ in range(5):
        await client.threads.create()


@pytest.mark.parametrize(
    ("database", "redis"),
    [("refusing", "stalling"), ("stalling", "refusing")] if LONG else [("refusing", "stalling")],
)
async def test_runs_survive_unreachable_servers_under_load(
    stack: Stack, client: LangGraphClient, tmp_path: Path, database: str, redis: str
) -> None:
    work = await Work.begin(client, tmp_path)
    said: dict[str, Any] = {"messages": [{"role": "user", "content": "!"}]}
    accepted: list[tuple[str, str]] = []
    refused: Counter[int] = Counter()
    over = asyncio.Event()

    async def keep_asking() -> None:
        while not over.is_set():
            try:
                thread_id = (await client.threads.create())["thread_id"]
                run = await client.runs.create(thread_id, "talk", input=said)
                accepted.append((thread_id, run["run_id"]))
            except APIStatusError as error:
                refused[error.status_code] += 1
            await asyncio.sleep(0.1)

    asking = [asyncio.create_task(keep_asking()) for _ in range(4)]
    await until(lambda: len(accepted) > 4)
    with ExitStack() as away:
        away.enter_context(getattr(stack.database, database)())
        away.enter_context(getattr(stack.redis, redis)())
        await asyncio.sleep(OUTAGE_SECONDS)
    before = len(accepted)
    await until(lambda: len(accepted) > before + 4, 60)
    over.set()
    await asyncio.gather(*asking)

    assert not set(refused) - {503}  # after a short outage nobody need be refused: a request waits for some seconds
    results: list[Any] = await asyncio.gather(*(client.runs.join(thread, run) for thread, run in accepted))
    assert {result["messages"][-1]["content"] for result in results} == {"1: !"}
    for thread, run, _ in work.runs:  # waiting clients may have received 503; the runs are executed all the same
        result: Any = await client.runs.join(thread, run)
        assert result["done"] == [0, 1, 2, 3, 4]
    done, _ = await asyncio.wait([*work.waiting, *work.following], timeout=30)
    assert len(done) == 2 * RUNS
    await asyncio.to_thread(_settled, stack)
    work.audit(stack, again=2)


def _settled(stack: Stack) -> None:
    """Wait for runs that were stored although their clients received 503."""
    stack.wait_for("SELECT FROM runs WHERE status IN ('pending', 'running')")


async def test_full_upload_disk_is_reported(stack: Stack) -> None:
    assert stack.service.api
    api = psutil.Process(stack.service.api.pid)
    before = api.rlimit(resource.RLIMIT_FSIZE)
    text = b"A line of a document that is somewhat longer than what is kept in memory.\n" * 40_000
    headers = stack.service.sign_up()
    async with httpx2.AsyncClient(base_url=stack.service.url, headers=headers, timeout=120, trust_env=False) as http:
        api.rlimit(resource.RLIMIT_FSIZE, (2 * 1024 * 1024, before[1]))
        try:
            refused = await http.post("/documents", files={"file": ("long.txt", text)})
        finally:
            api.rlimit(resource.RLIMIT_FSIZE, before)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:problem:storage-full")
        assert refused.headers["Retry-After"]
        assert (await http.get("/documents")).json()["items"] == []

        accepted = await http.post("/documents", files={"file": ("long.txt", text)})
        assert accepted.status_code == 202


async def test_runs_survive_a_worker_clock_an_hour_ahead(stack: Stack, client: LangGraphClient) -> None:
    first = stack.service.workers.pop()
    changes = {"PYTHONPATH": str(Path(__file__).parent / "clock"), "CLOCK_AHEAD": "3600"}
    ahead = await asyncio.to_thread(stack.service.start_worker, **changes)
    first.terminate()
    assert await asyncio.to_thread(first.wait, 30) == 0
    thread_id = (await client.threads.create())["thread_id"]

    told: Any = await client.runs.wait(thread_id, "faulty", input={"fault": "time"}, after_seconds=1)
    assert told["left"] - time.time() > 3000
    work: dict[str, Any] = {"steps": 4, "seconds": 0.5, "log": "/dev/null"}
    run = await client.runs.create(thread_id, "steps", input=work, durability="sync")
    lease = "SELECT extract(epoch FROM lease_until - now())::float8 AS s FROM runs WHERE status = 'running'"
    await until(lambda: bool(stack.rows(lease)))
    assert 0 < stack.rows(lease)[0]["s"] <= LEASE_SECONDS
    waits = "SELECT extract(epoch FROM started_at - due_at)::float8 AS s FROM runs WHERE thread_id = %s"
    assert all(0 <= row["s"] < 60 for row in stack.rows(waits, thread_id))

    await asyncio.to_thread(stack.service.start_worker)
    ahead.terminate()
    assert await asyncio.to_thread(ahead.wait, 30) == 0
    stack.service.workers.remove(ahead)
    result: Any = await client.runs.join(thread_id, run["run_id"])
    assert result["done"] == [0, 1, 2, 3]
    stack.audit()
