"""Checkpoints of many runs are stored together, and fail alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from secrets import token_hex
from uuid import UUID, uuid4

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig

from project4_agent_api.core.postgres import create_pool
from project4_agent_api.core.storage import UNLIMITED
from project4_agent_api.graphs.checkpointer.batch_writer import Claim, ClaimLost
from project4_agent_api.graphs.checkpointer.run_saver import RunCheckpointSaver
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver
from project4_agent_api.settings import Settings
from project4_agent_api.threads.repository import delete_temporary_thread
from tests.support.stored_runs import connect, store
from tests.support.transactions import value, waiting


@pytest.fixture
async def checkpoints(make_settings4: Callable[..., Settings]) -> AsyncIterator[CheckpointSaver]:
    pool = create_pool(make_settings4())
    await pool.open()
    yield CheckpointSaver(pool)
    await pool.close()


def place() -> RunnableConfig:
    return {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": "", "checkpoint_id": str(uuid4())}}


async def test_unstorable_checkpoint_fails_its_thread_only(checkpoints: CheckpointSaver, database_url: str) -> None:
    places = [place() for _ in range(3)]
    tasks = ["one", token_hex(5000), "three"]  # the middle one is longer than an index takes

    stored = await asyncio.gather(
        *(checkpoints.aput_writes(one, [("channel", "value")], task) for one, task in zip(places, tasks, strict=True)),
        return_exceptions=True,
    )

    assert [type(one) for one in stored] == [type(None), psycopg.errors.ProgramLimitExceeded, type(None)]
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT thread_id, task_id FROM checkpoint_writes ORDER BY task_id").fetchall()
    assert rows == [(places[number]["configurable"]["thread_id"], tasks[number]) for number in (0, 2)]


async def test_closed_saver_flushes_and_refuses_later_writes(checkpoints: CheckpointSaver, database_url: str) -> None:
    config = place()
    thread_id = UUID(config["configurable"]["thread_id"])
    async with await connect(database_url) as connection, await connect(database_url) as other:
        run_id = await store(connection, "running", thread_id=thread_id)
        claim = await value(connection, "SELECT claim FROM runs")
        saver = RunCheckpointSaver(
            checkpoints,
            Claim(run_id, claim),
            durable=False,
            thread_is_empty=True,
            require_storage=partial(UNLIMITED.require, connection, run_id),
            stop=lambda: None,
        )
        async with other.transaction():
            await other.execute("LOCK TABLE checkpoint_writes IN SHARE MODE")
            await saver.aput_writes(config, [("channel", "value")], "task")
            closing = await waiting(other, saver.close())
        await closing

        assert await value(connection, "SELECT count(*) FROM checkpoint_writes") == 1
        assert await delete_temporary_thread(connection, thread_id, claim)
        assert await value(connection, "SELECT count(*) FROM checkpoint_writes") == 0
    with pytest.raises(ClaimLost):
        await saver.aput_writes(config, [("channel", "value")], "later")
