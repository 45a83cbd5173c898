"""Concurrent operations on a thread and its runs: one waits for the other, and sees its effect."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from project4_agent_api.core.postgres import Connection, Row
from project4_agent_api.core.storage import UNLIMITED
from project4_agent_api.models import RunStatus, ThreadStatus
from project4_agent_api.runs.claims import Ending, claim_next, finish_run, requeue
from project4_agent_api.runs.repository import Admission, NewRun, create_run
from project4_agent_api.runs.spec import RunKey, RunSpec
from project4_agent_api.runs.stopping import stop_runs
from project4_agent_api.runs.webhooks import Webhooks
from shared.errors import Conflict, TooManyRequests
from shared.jobs.queue import create_job_app
from tests.project4_agent_api.conftest import SignUp
from tests.support.stored_runs import OWNER, claimed, connect, row, store
from tests.support.transactions import _HELD_UP, value, waiting

DONE = Ending(RunStatus.SUCCESS, ThreadStatus.IDLE)
WEBHOOKS = Webhooks(create_job_app({}))
ADMISSION = Admission(waiting=100, deferred=100, queue_full=False, storage=UNLIMITED, webhooks=100)

_CHECKPOINT = "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES (%s, 'one', '{}')"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url) as connection:
        yield connection


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Connection]:
    """Another connection, for the transaction that comes first."""
    async with await connect(database_url) as connection:
        yield connection


def new_run(thread_id: UUID, **changes: Any) -> NewRun:
    given: dict[str, Any] = {
        "key": RunKey(OWNER, thread_id, uuid4()),
        "assistant_id": uuid4(),
        "base_metadata": {},
        "metadata": {},
        "spec": RunSpec(config={"configurable": {"graph_id": "talk"}}),
        "multitask_strategy": "enqueue",
        "request_id": None,
    }
    return NewRun(**given | changes)


async def create(connection: Connection, new: NewRun) -> UUID:
    made = await create_run(connection, new, ADMISSION, WEBHOOKS)
    return made.row["run_id"]  # type: ignore[no-any-return]  # a row's column


async def stop(connection: Connection, *run_ids: UUID, action: str = "interrupt") -> list[Row]:
    async with connection.transaction():
        return await stop_runs(connection, run_ids, action, WEBHOOKS)


async def test_thread_deleted_during_a_write_of_its_run_is_gone(
    client4: httpx2.AsyncClient, sign_up: SignUp, connection: Connection, other: Connection
) -> None:
    client4.headers |= await sign_up()
    thread = (await client4.post("/threads", json={})).raise_for_status().json()["thread_id"]
    run = await store(connection, "running", thread_id=UUID(thread))

    async with other.transaction():  # as a worker stores a checkpoint
        await other.execute("SELECT FROM runs WHERE run_id = %s FOR SHARE", [run])
        await other.execute(_CHECKPOINT, [thread])
        deleting = await waiting(other, client4.delete(f"/threads/{thread}"))

    assert (await deleting).status_code == 204
    assert await value(connection, "SELECT count(*) FROM runs") == 0
    assert await value(connection, "SELECT count(*) FROM checkpoints") == 0


async def test_thread_deleted_during_a_state_update_is_gone(
    client4: httpx2.AsyncClient, sign_up: SignUp, connection: Connection, other: Connection
) -> None:
    client4.headers |= await sign_up()
    thread = (
        (await client4.post("/threads", json={"metadata": {"graph_id": "agent"}}))
        .raise_for_status()
        .json()["thread_id"]
    )
    change = {"values": {"messages": [{"role": "user", "content": "Hello"}]}}

    async with other.transaction():
        await other.execute("LOCK TABLE checkpoints IN SHARE MODE")
        changing = await waiting(other, client4.post(f"/threads/{thread}/state", json=change))
        deleting = asyncio.create_task(client4.delete(f"/threads/{thread}"))
        async with asyncio.timeout(120):
            while await value(connection, _HELD_UP) < 2:  # noqa: ASYNC110  another process holds it up
                await asyncio.sleep(0.01)

    assert (await deleting).status_code == 204
    await changing
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        assert await value(connection, f"SELECT count(*) FROM {table}") == 0  # noqa: S608  one of these names


async def test_state_update_during_the_start_of_a_run_is_rejected(
    client4: httpx2.AsyncClient, sign_up: SignUp, other: Connection
) -> None:
    client4.headers |= await sign_up()
    made = await client4.post("/threads", json={"metadata": {"graph_id": "agent"}})
    thread = made.raise_for_status().json()["thread_id"]
    change = {"values": {"messages": [{"role": "user", "content": "Hello"}]}}

    async with other.transaction():  # as a run is stored
        await other.execute("UPDATE threads SET status = 'busy'")
        changing = await waiting(other, client4.post(f"/threads/{thread}/state", json=change))

    assert (await changing).status_code == 409


async def test_requeued_run_is_rolled_back_by_its_worker(connection: Connection) -> None:
    run_id, new = await store(connection, "pending"), await store(connection, "pending", due=60)
    begun = await claim_next(connection, OWNER, 60, 10)
    assert begun is not None
    await requeue(connection, run_id, begun.claim)

    stopped = await stop(connection, run_id, new, action="rollback")

    assert {one["run_id"]: one["status"] for one in stopped} == {run_id: "running", new: "interrupted"}
    again = await claim_next(
        connection, OWNER, 60, 10
    )  # its checkpoints are deleted by the worker that has the claim now
    assert again is not None
    assert (again.key.run_id, again.stop_reason) == (run_id, "rollback")


async def test_thread_is_deleted_during_the_end_of_its_run(
    client4: httpx2.AsyncClient, sign_up: SignUp, connection: Connection, other: Connection
) -> None:
    client4.headers |= await sign_up()
    thread = (await client4.post("/threads", json={})).raise_for_status().json()["thread_id"]
    run = await store(connection, "running", thread_id=UUID(thread))

    async with other.transaction():  # as a worker stores an end
        await other.execute("UPDATE runs SET status = 'success' WHERE run_id = %s", [run])
        deleting = await waiting(other, client4.delete(f"/threads/{thread}"))
        await other.execute("UPDATE threads SET status = 'idle' WHERE thread_id = %s", [thread])

    assert (await deleting).status_code == 204
    assert await value(connection, "SELECT count(*) FROM threads") == 0


async def test_thread_is_busy_with_a_run_stored_during_an_end(connection: Connection, other: Connection) -> None:
    thread = uuid4()
    first = await store(connection, "running", thread_id=thread)
    claim = await value(connection, "SELECT claim FROM runs")

    async with other.transaction():
        second = await create(other, new_run(thread))
        ending = await waiting(other, finish_run(connection, first, claim, DONE))
    await ending

    assert await claimed(connection) == second
    assert (await row(connection, second))["thread"] == "busy"


async def test_thread_stays_busy_with_a_run_stored_during_a_stop(connection: Connection, other: Connection) -> None:
    thread = uuid4()
    first = await store(connection, "pending", thread_id=thread)

    async with other.transaction():
        second = await create(other, new_run(thread))
        stopping = await waiting(other, stop(connection, first))

    assert [one["status"] for one in await stopping] == ["interrupted"]
    assert (await row(connection, second))["thread"] == "busy"


@pytest.mark.parametrize("there", [False, True], ids=["made", "there"])
async def test_concurrent_reject_runs_have_one_winner(
    connection: Connection, other: Connection, *, there: bool
) -> None:
    new = new_run(uuid4(), multitask_strategy="reject", create_thread=True)
    if there:
        await stop(connection, await store(connection, "pending", thread_id=new.key.thread_id))

    async with other.transaction():
        first = await create(other, new)
        refused = await waiting(other, create(connection, replace(new, key=replace(new.key, run_id=uuid4()))))

    with pytest.raises(Conflict):
        await refused
    assert await value(connection, "SELECT run_id FROM runs WHERE status = 'pending'") == first


async def test_rejected_run_leaves_no_thread(connection: Connection) -> None:
    await store(connection, "pending")
    new = new_run(uuid4(), multitask_strategy="reject", create_thread=True)

    with pytest.raises(TooManyRequests):
        await create_run(connection, new, replace(ADMISSION, waiting=1), WEBHOOKS)

    assert await value(connection, "SELECT count(*) FROM threads") == 1


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_run_stopped_during_its_claim_is_stopped(connection: Connection, other: Connection, action: str) -> None:
    run = await store(connection, "pending")

    async with other.transaction():
        assert await claimed(other) == run
        stopping = await waiting(other, stop(connection, run, action=action))

    assert [(one["run_id"], one["status"]) for one in await stopping] == [(run, "running")]
    assert await value(connection, "SELECT cancel FROM runs") == action


async def test_run_interrupted_during_its_claim_is_stopped(connection: Connection, other: Connection) -> None:
    thread = uuid4()
    run = await store(connection, "pending", thread_id=thread)

    async with other.transaction():
        assert await claimed(other) == run
        new = new_run(thread, multitask_strategy="interrupt")
        creating = await waiting(other, create_run(connection, new, ADMISSION, WEBHOOKS))

    assert [(one["run_id"], one["status"]) for one in (await creating).stopped] == [(run, "running")]


async def test_run_that_ends_during_its_interruption_keeps_its_status(
    connection: Connection, other: Connection
) -> None:
    thread = uuid4()
    run = await store(connection, "running", thread_id=thread)

    async with other.transaction():  # as its worker stores the end
        await other.execute("UPDATE runs SET status = 'success' WHERE run_id = %s", [run])
        new = new_run(thread, multitask_strategy="interrupt")
        creating = await waiting(other, create_run(connection, new, ADMISSION, WEBHOOKS))
        await other.execute("UPDATE threads SET status = 'idle' WHERE thread_id = %s", [thread])

    assert (await creating).stopped == []
    assert (await row(connection, new.key.run_id))["thread"] == "busy"


async def test_losing_claim_takes_the_next_due_run(connection: Connection, other: Connection) -> None:
    thread = uuid4()
    first = await store(connection, "pending", thread_id=thread, due=-30)
    await store(connection, "pending", thread_id=thread, due=-20)
    elsewhere = await store(connection, "pending", due=-10)

    async with other.transaction():
        assert await claimed(other) == first
        claiming = await waiting(other, claimed(connection))

    assert await claiming == elsewhere
