"""Checkpoints of many runs are stored together, and fail alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from secrets import token_hex
from uuid import uuid4

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig

from project4_agent_api.checkpoints import Checkpoints
from project4_agent_api.postgres import create_pool
from project4_agent_api.settings import Settings


@pytest.fixture
async def checkpoints(make_settings4: Callable[..., Settings]) -> AsyncIterator[Checkpoints]:
    pool = create_pool(make_settings4())
    await pool.open()
    yield Checkpoints(pool)
    await pool.close()


def place() -> RunnableConfig:
    return {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": "", "checkpoint_id": str(uuid4())}}


async def test_what_cannot_be_stored_of_one_thread_harms_no_other(checkpoints: Checkpoints, database_url: str) -> None:
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
