"""Checkpoints of many runs are stored together, fail alone, and are encrypted with a key."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from secrets import token_hex
from uuid import UUID, uuid4

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint

from project4_agent_api.core.postgres import Pool, create_pool
from project4_agent_api.core.storage import UNLIMITED
from project4_agent_api.graphs.checkpointer.batch_writer import Claim, ClaimLost
from project4_agent_api.graphs.checkpointer.encryption import check_key, create_serializer
from project4_agent_api.graphs.checkpointer.run_saver import RunCheckpointSaver
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver
from project4_agent_api.settings import Settings
from project4_agent_api.threads.repository import delete_temporary_thread
from shared.errors import ConfigurationError
from tests.support.stored_runs import connect, store
from tests.support.transactions import value, waiting

KEY, OTHER_KEY = token_hex(16), token_hex(8)


@pytest.fixture
async def pool(make_settings4: Callable[..., Settings]) -> AsyncIterator[Pool]:
    pool = create_pool(make_settings4())
    await pool.open()
    yield pool
    await pool.close()


@pytest.fixture
async def checkpoints(pool: Pool) -> CheckpointSaver:
    return CheckpointSaver(pool)


def place() -> RunnableConfig:
    return {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": "", "checkpoint_id": str(uuid4())}}


async def test_event_loop_is_not_blocked_by_a_synchronous_call(checkpoints: CheckpointSaver) -> None:
    saver = RunCheckpointSaver(
        checkpoints,
        Claim(uuid4(), uuid4()),
        durable=False,
        thread_is_empty=False,
        require_storage=lambda _: asyncio.sleep(0, 0),
        stop=lambda: None,
    )
    assert await asyncio.to_thread(saver.get_tuple, place()) is None
    assert await asyncio.to_thread(lambda: list(saver.list(place()))) == []
    with pytest.raises(RuntimeError, match="an async node has to call a graph with await"):
        saver.get_tuple(place())


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


def encrypting(pool: Pool, key: str) -> CheckpointSaver:
    return CheckpointSaver(pool, serde=create_serializer(key))


async def store_state(saver: CheckpointSaver, word: str) -> tuple[RunnableConfig, Checkpoint]:
    """Store a checkpoint with a word in each kind of value, and a pending write of it."""
    config: RunnableConfig = {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": ""}}
    values = {"text": word, "list": [word], "number": 7, "nothing": None}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"], checkpoint["channel_versions"] = values, dict.fromkeys(values, "1")
    stored = await saver.aput(config, checkpoint, {}, checkpoint["channel_versions"])
    await saver.aput_writes(stored, [("text", word)], "task")
    return stored, checkpoint


async def test_encrypted_state_is_read_with_its_key_only(pool: Pool, database_url: str) -> None:
    saver, word = encrypting(pool, KEY), "lighthouse"

    config, checkpoint = await store_state(saver, word)

    with psycopg.connect(database_url) as connection:
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            rows = connection.execute(f"SELECT {table}::text FROM {table}").fetchall()  # noqa: S608  names from above
            assert rows
            assert word.encode().hex() not in str(rows)
            assert word not in str(rows)
    read = await saver.aget_tuple(config)
    assert read
    assert read.checkpoint == checkpoint
    assert read.pending_writes == [("task", "text", word)]
    async with pool.connection() as connection:
        within = await saver.in_transaction(connection).aget_tuple(config)
    assert within == read
    with pytest.raises(ValueError, match="MAC check failed"):
        await encrypting(pool, OTHER_KEY).aget_tuple(config)


async def test_state_from_before_the_key_stays_readable(pool: Pool) -> None:
    config, checkpoint = await store_state(CheckpointSaver(pool), "lighthouse")
    read = await encrypting(pool, KEY).aget_tuple(config)
    assert read
    assert read.checkpoint == checkpoint
    assert read.pending_writes == [("task", "text", "lighthouse")]


@pytest.mark.parametrize(
    ("stored_with", "key", "message"),
    [
        (KEY, "", "LANGGRAPH_AES_KEY is not set"),
        (KEY, OTHER_KEY, "LANGGRAPH_AES_KEY is not the key"),
        (KEY, KEY, None),
        ("", KEY, None),
    ],
    ids=["no key", "another key", "the same key", "not encrypted"],
)
async def test_start_needs_the_key_of_the_stored_state(
    pool: Pool,
    database_url: str,
    make_settings4: Callable[..., Settings],
    stored_with: str,
    key: str,
    message: str | None,
) -> None:
    settings = make_settings4(database_url=database_url, langgraph_aes_key=key)
    await check_key(settings)  # of an empty database
    await store_state(encrypting(pool, stored_with), "lighthouse")
    if message is None:
        await check_key(settings)
        return
    with pytest.raises(ConfigurationError, match=message):
        await check_key(settings)


async def test_start_does_not_need_the_database(
    pool: Pool, database_url: str, make_settings4: Callable[..., Settings]
) -> None:
    async with pool.connection() as connection:
        await connection.execute("DROP TABLE checkpoint_blobs")
    for address in (database_url, "postgresql://127.0.0.1:1/none"):
        await check_key(make_settings4(database_url=address, langgraph_aes_key=KEY))
