"""Checkpoints of many runs are stored together, and fail alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
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
    channels = ["fine", "with a NUL: \0", "fine too"]

    stored = await asyncio.gather(
        *(
            checkpoints.aput_writes(one, [(channel, "value")], "task")
            for one, channel in zip(places, channels, strict=True)
        ),
        return_exceptions=True,
    )

    assert [type(one) for one in stored] == [type(None), psycopg.DataError, type(None)]
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT thread_id, channel FROM checkpoint_writes ORDER BY channel").fetchall()
    assert rows == [(places[number]["configurable"]["thread_id"], channels[number]) for number in (0, 2)]
