"""Misbehaving graphs: the run of each ends, and no other run is harmed."""

import asyncio
import resource
from pathlib import Path
from typing import Any

import psutil
import pytest
from langgraph_sdk.client import LangGraphClient
from redis import Redis

from tests.faults.stack import Stack
from tests.support.until import until

pytestmark = pytest.mark.slow

MEGABYTE = 1024 * 1024


class Faulty:
    """A run of the faulty graph, beside one of another that is harmless."""

    def __init__(self, client: LangGraphClient, stack: Stack, log: Path) -> None:
        self._client = client
        self._stack = stack
        self._log = log

    async def run(self, fault: str, **state: Any) -> tuple[dict[str, Any], Any]:
        """Run both to their ends; return the faulty one's row, and the result that its client receives."""
        threads = [(await self._client.threads.create())["thread_id"] for _ in range(2)]
        harmless: dict[str, Any] = {"steps": 4, "seconds": 0.3, "log": str(self._log)}
        other = await self._client.runs.create(threads[0], "steps", input=harmless, durability="sync")
        await until(self._log.exists)
        run = await self._client.runs.create(
            threads[1], "faulty", input={"fault": fault, **state}, stream_mode=["values", "custom"]
        )
        result = await self._client.runs.join(threads[1], run["run_id"])
        assert (await self._client.runs.join(threads[0], other["run_id"]))["done"] == [0, 1, 2, 3]
        assert self._log.read_text().count("\n") == 4
        self._stack.audit()
        (row,) = self._stack.rows("SELECT * FROM runs WHERE run_id = %s", run["run_id"])
        return row, result


@pytest.fixture
def faulty(client: LangGraphClient, stack: Stack, tmp_path: Path) -> Faulty:
    return Faulty(client, stack, tmp_path / "steps.log")


@pytest.mark.parametrize("fault", ["sleep", "spin"])
async def test_blocking_graph_is_interrupted(faulty: Faulty, fault: str) -> None:
    run, result = await faulty.run(fault, seconds=60)

    assert (run["status"], run["attempt"]) == ("error", 1)
    assert result["__error__"]["error"] == "LoopBlocked"
    assert "blocked its worker's event loop for 8 s" in result["__error__"]["message"]


async def test_graph_that_blocks_longer_than_a_lease_continues(faulty: Faulty) -> None:
    run, result = await faulty.run("sleep", seconds=3)

    assert (run["status"], run["attempt"]) == ("success", 1)
    assert result["left"] == "rested"


@pytest.mark.parametrize(
    ("fault", "error"),
    [("recurse", "RecursionError"), ("raise", "Locked"), ("lock", "TypeError"), ("nest", "TypeError")],
)
async def test_failure_that_cannot_be_serialized_still_fails_the_run(faulty: Faulty, fault: str, error: str) -> None:
    run, result = await faulty.run(fault)

    assert (run["status"], run["attempt"]) == ("error", 1)
    assert result["__error__"]["error"] == run["error"]["error"] == error


async def test_values_outside_json_are_replaced(faulty: Faulty) -> None:
    run, result = await faulty.run("half")

    assert run["status"] == "success"
    assert result["left"] == {"half": "\ufffd", "nul": "\ufffd", "endless": None}


async def test_leaking_graph_is_limited_by_its_workers_memory(faulty: Faulty, stack: Stack) -> None:
    worker = psutil.Process(stack.service.workers[0].pid)
    before = worker.rlimit(resource.RLIMIT_AS)
    worker.rlimit(resource.RLIMIT_AS, (worker.memory_info().vms + 300 * MEGABYTE, before[1]))
    try:
        run, result = await faulty.run("leak")
    finally:
        worker.rlimit(resource.RLIMIT_AS, before)

    assert (run["status"], run["attempt"]) == ("error", 1)
    assert result["__error__"] == {"error": "MemoryError", "message": "An internal error occurred"}


async def test_hundred_megabytes_of_events_are_bounded(faulty: Faulty, client: LangGraphClient, stack: Stack) -> None:
    run, _ = await faulty.run("emit", megabytes=100)

    with Redis.from_url(stack.redis_url) as redis:
        assert redis.memory_usage(f"{_names(stack)}:run:{run['run_id']}") < 24 * MEGABYTE
    parts: list[Any] = [
        part async for part in client.runs.join_stream(str(run["thread_id"]), str(run["run_id"]), stream_mode="values")
    ]
    assert [part.data["left"] for part in parts if part.event == "values" and "left" in part.data] == ["all said"]
    result: Any = await client.runs.join(str(run["thread_id"]), str(run["run_id"]))
    assert result["left"] == "all said"


async def test_oversized_event_is_replaced_by_a_notice(faulty: Faulty, client: LangGraphClient) -> None:
    run, _ = await faulty.run("emit at once", megabytes=100)

    parts: list[Any] = [part async for part in client.runs.join_stream(str(run["thread_id"]), str(run["run_id"]))]
    (omitted,) = [part.data for part in parts if part.event == "omitted"]
    assert omitted == {"event": "custom", "bytes": 100 * MEGABYTE + len('{"padding":""}')}


async def test_large_result_is_read_from_the_database(faulty: Faulty, client: LangGraphClient) -> None:
    run, result = await faulty.run("grow", megabytes=6)

    assert len(result["left"]) == 6 * MEGABYTE
    again: Any = await client.runs.join(str(run["thread_id"]), str(run["run_id"]))
    assert again == result
    gone: Any = await client.runs.wait(None, "faulty", input={"fault": "grow", "megabytes": 6}, raise_error=False)
    assert gone["__error__"]["error"] == "ResultTooLarge"


async def test_run_that_kills_every_worker_is_abandoned(client: LangGraphClient, stack: Stack) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread_id, "faulty", input={"fault": "die"})
    waiting = asyncio.create_task(client.runs.join(thread_id, run["run_id"]))
    for _ in range(3):
        worker = stack.service.workers.pop()
        await asyncio.to_thread(worker.wait, 60)
        await asyncio.to_thread(stack.service.start_worker)

    result: Any = await waiting
    assert result["__error__"]["error"] == "WorkerLost"
    (row,) = stack.rows("SELECT status, attempt FROM runs WHERE run_id = %s", run["run_id"])
    assert row == {"status": "error", "attempt": 3}
    stack.audit()


async def test_temporary_thread_is_deleted_with_an_abandoned_run(client: LangGraphClient, stack: Stack) -> None:
    work: dict[str, Any] = {"steps": 1, "seconds": 60, "log": "/dev/null"}
    waiting = asyncio.create_task(client.runs.wait(None, "steps", input=work, raise_error=False))
    running = "SELECT thread_id FROM runs WHERE status = 'running'"
    await until(lambda: len(stack.rows(running)) == 1)
    (run,) = stack.rows(running)

    # As if its worker had died for the last time that is allowed.
    stack.rows(
        "UPDATE runs SET failures = 2, claim = gen_random_uuid(), lease_until = now() WHERE status = 'running'"
        " RETURNING run_id"
    )

    result: Any = await waiting
    assert result["__error__"]["error"] == "WorkerLost"
    assert stack.rows("SELECT FROM threads WHERE thread_id = %s", run["thread_id"]) == []
    stack.audit()


def _names(stack: Stack) -> str:
    return stack.database_url.rpartition("/")[2]
