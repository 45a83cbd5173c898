"""Where LangGraph keeps the state of a thread after each step: its own tables, written faster than it does.

LangGraph's `AsyncPostgresSaver` takes one lock for all that it does, although it has a pool, and hops through threads.
Here reading takes a connection of the pool, and what all runs of a process write within one turn of the event loop goes
out as one statement. Measured at 16 runs at once: 117 runs a second with its own, 173 without the lock, 227 so.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import isfinite
from time import monotonic
from typing import Any
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from psycopg import AsyncCursor
from psycopg.rows import DictRow

from project4_agent_api.core.postgres import Connection, Pool
from project4_agent_api.core.serialization import dumps
from shared.database.engine import database_errors
from shared.errors import DatabaseUnavailable

# The tables that a batch has rows of, by a letter: checkpoint_blobs, checkpoints, and checkpoint_writes: those that
# stay as they were first written, and the special ones (errors, interrupts, answers), of which the last one counts.
# With each its columns in a row, of which `blob` is a place among the batch's bytes, and which of them are the key of a
# row: a statement may write each once.
_COLUMNS = {
    "b": "thread_id text, checkpoint_ns text, channel text, version text, type text, blob int",
    "c": "thread_id text, checkpoint_ns text, checkpoint_id text, parent_checkpoint_id text, checkpoint jsonb,"
    " metadata jsonb",
    "w": "thread_id text, checkpoint_ns text, checkpoint_id text, task_id text, task_path text, idx int, channel text,"
    " type text, blob int",
}
_COLUMNS["s"] = _COLUMNS["w"]
_NAMES = {letter: [one.split()[0] for one in columns.split(", ")] for letter, columns in _COLUMNS.items()}
_KEYS = {"b": (0, 1, 2, 3), "c": (0, 1, 2), "w": (0, 1, 2, 3, 5), "s": (0, 1, 2, 3, 5)}


def _rows(letter: str) -> str:
    """Select the rows of a kind, without those of runs that are another worker's by now."""
    selected = ["(%(bytes)b::bytea[])[blob]" if name == "blob" else name for name in _NAMES[letter]]
    return (
        f"SELECT {', '.join(selected)} FROM json_to_recordset(%({letter})s::json)"  # noqa: S608
        f" AS given ({_COLUMNS[letter]}, run_id uuid) WHERE run_id IS NULL OR run_id IN (SELECT run_id FROM held)"
    )


_INTO_WRITES = f"INSERT INTO checkpoint_writes ({', '.join(_NAMES['w'])})"
# Whoever takes a run over waits until what its worker is writing is written, or has done so before: `FOR SHARE`.
# The rows come as JSON with their bytes beside it, which the driver makes faster than an array for each column.
_WRITE = f"""
    WITH held AS (
        SELECT run_id FROM runs JOIN json_to_recordset(%(claims)s::json) AS given (run_id uuid, claim uuid)
            USING (run_id, claim)
        WHERE status = 'running' ORDER BY run_id FOR SHARE OF runs
    ), blobs AS (
        INSERT INTO checkpoint_blobs ({", ".join(_NAMES["b"])})
        {_rows("b")} ON CONFLICT DO NOTHING
    ), states AS (
        INSERT INTO checkpoints ({", ".join(_NAMES["c"])})
        {_rows("c")} ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id)
        DO UPDATE SET checkpoint = EXCLUDED.checkpoint, metadata = EXCLUDED.metadata
    ), writes AS (
        {_INTO_WRITES} {_rows("w")} ON CONFLICT DO NOTHING
    ), special AS (
        {_INTO_WRITES} {_rows("s")} ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
        DO UPDATE SET channel = EXCLUDED.channel, type = EXCLUDED.type, blob = EXCLUDED.blob
    )
    SELECT run_id FROM held
"""  # noqa: S608  no value in it
_BACK_OFF_SECONDS = 0.5
_WIDEST = 2**63  # beyond it JSON's numbers are not what they were


class ClaimLost(Exception):
    """The run is another worker's now: what this one would write is refused."""


@dataclass(frozen=True)
class Claim:
    """A worker's hold on a run."""

    run_id: UUID
    claim: UUID


class Batch:
    """Rows of the tables, each key once, and whoever waits for them to be stored."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[tuple[Any, ...], tuple[Any, ...]]] = {letter: {} for letter in _COLUMNS}
        self.claims: dict[UUID, UUID] = {}
        # When they are stored: the runs that were still held.
        self.stored: asyncio.Future[set[UUID]] = asyncio.get_running_loop().create_future()
        self.refused: dict[str, Exception] = {}  # what is wrong with the rows of a thread

    def add(self, letter: str, row: tuple[Any, ...], claim: Claim | None) -> None:
        """Take a row of a table, and whose it is."""
        if claim:
            self.claims[claim.run_id] = claim.claim
        key = tuple(row[place] for place in _KEYS[letter])
        owned = (*row, claim and claim.run_id)
        if letter == "w":
            self.rows[letter].setdefault(key, owned)
        else:
            self.rows[letter][key] = owned

    def threads(self) -> set[str]:
        """Return whose rows these are."""
        return {row[0] for rows in self.rows.values() for row in rows.values()}

    def parameters(self, thread_id: str | None = None) -> dict[str, Any]:
        """Return what the statement is given: all rows, or those of one thread."""
        blobs: list[bytes] = []
        parameters: dict[str, Any] = {
            "bytes": blobs,
            "claims": dumps([{"run_id": run, "claim": claim} for run, claim in self.claims.items()]).decode(),
        }
        for letter, names in _NAMES.items():
            rows = [
                dict(zip((*names, "run_id"), row, strict=True))
                for row in self.rows[letter].values()
                if thread_id in (None, row[0])
            ]
            for row in rows:
                if row.get("blob") is not None:
                    blobs.append(row["blob"])
                    row["blob"] = len(blobs)
            parameters[letter] = dumps(rows).decode()
        return parameters

    async def wait(self, thread_id: str, claim: Claim | None) -> None:
        """Wait until it is stored.

        Raises:
            ClaimLost: if it was not, because the run is not held any more.
            psycopg.Error: if the database does not take the rows of this thread.
        """
        held = await asyncio.shield(self.stored)
        if error := self.refused.get(thread_id):
            raise error
        if claim and claim.run_id not in held:
            raise ClaimLost


class Checkpoints(AsyncPostgresSaver):
    """LangGraph's checkpoint saver over a pool.

    Args:
        pool: Open while this is used.
        patience: For how many seconds a database that is away is waited for, before it is said.
    """

    def __init__(self, pool: Pool, *, patience: float = 0) -> None:
        super().__init__(pool)
        self._pool = pool
        self._patience = patience
        self._batch: Batch | None = None
        self._writing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        with database_errors():
            async with self._pool.connection() as connection:
                if not pipeline:
                    async with connection.cursor(binary=True) as cursor:
                        yield cursor
                    return
                async with connection.transaction(), connection.cursor(binary=True) as cursor:
                    yield cursor

    def within(self, connection: Connection) -> "Checkpoints":
        """Return a saver that stores what it is given in a transaction that is open."""
        return _WithinTransaction(self._pool, connection)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        claim: Claim | None = None,
    ) -> RunnableConfig:
        """Store a checkpoint. Returns when it is stored.

        Raises:
            ClaimLost: if it is a run's that is held no more.
        """
        await self.put_soon(config, checkpoint, metadata, new_versions, claim).wait(
            config["configurable"]["thread_id"], claim
        )
        return _place(config, checkpoint)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
        claim: Claim | None = None,
    ) -> None:
        """Store what the tasks of a step have written. Returns when it is stored.

        Raises:
            ClaimLost: if it is a run's that is held no more.
        """
        await self.put_writes_soon(config, writes, task_id, task_path, claim).wait(
            config["configurable"]["thread_id"], claim
        )

    def put_soon(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        claim: Claim | None,
    ) -> Batch:
        """Let a checkpoint be stored with the next batch, which is returned."""
        configurable = config["configurable"]
        thread_id, namespace = configurable["thread_id"], configurable["checkpoint_ns"]
        inline: dict[str, Any] = {}
        apart: dict[str, Any] = {}
        for channel, value in checkpoint["channel_values"].items():
            if isinstance(value, _DeltaSnapshot):
                inline[channel], apart[channel] = True, value
            elif _fits_json(value):
                inline[channel] = value
            else:
                apart[channel] = value
        batch = self._open_batch()
        versions = {channel: version for channel, version in new_versions.items() if channel in apart}
        for row in self._dump_blobs(thread_id, namespace, apart, versions):
            batch.add("b", row, claim)
        stored = checkpoint | {"channel_values": inline}
        described = get_serializable_checkpoint_metadata(config, metadata)
        parent = configurable.get("checkpoint_id")
        batch.add("c", (thread_id, namespace, checkpoint["id"], parent, stored, described), claim)
        return batch

    def put_writes_soon(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
        claim: Claim | None,
    ) -> Batch:
        """Let what the tasks of a step have written be stored with the next batch, which is returned."""
        configurable = config["configurable"]
        place = (configurable["thread_id"], configurable["checkpoint_ns"], configurable["checkpoint_id"])
        table = "s" if all(channel in WRITES_IDX_MAP for channel, _ in writes) else "w"
        batch = self._open_batch()
        for row in self._dump_writes(*place, task_id, task_path, writes):
            batch.add(table, row, claim)
        return batch

    def _open_batch(self) -> Batch:
        if self._batch is None:
            self._batch = Batch()
            if self._writing is None:
                self._writing = asyncio.create_task(self._write())
        return self._batch

    async def _write(self) -> None:
        """Write what has gathered, until nothing has. What comes while a batch is written is the next one."""
        while self._batch:
            await asyncio.sleep(0)
            batch, self._batch = self._batch, None
            try:
                held = await self._store(batch)
            except Exception as error:  # noqa: BLE001  it is those who wait that it concerns
                batch.stored.set_exception(error)
                batch.stored.exception()  # looked at: whoever waited may have gone
            else:
                batch.stored.set_result(held)
        self._writing = None

    async def _store(self, batch: Batch) -> set[UUID]:
        """Store a batch, each thread by itself where they cannot be stored together: one must not harm the others."""
        try:
            return await self._insist(batch.parameters())
        except DatabaseUnavailable:
            raise
        except Exception:
            threads = batch.threads()
            if len(threads) < 2:
                raise
        held: set[UUID] = set()
        for thread_id in threads:
            try:
                held |= await self._insist(batch.parameters(thread_id))
            except DatabaseUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  its runs fail by it, and only they
                batch.refused[thread_id] = error
        return held

    async def _insist(self, parameters: dict[str, Any]) -> set[UUID]:
        """Run the statement, also if the database is away for a while. Running it twice does what once does."""
        deadline = monotonic() + self._patience
        while True:
            try:
                async with self._cursor() as cursor:
                    await cursor.execute(_WRITE, parameters)
                    return {row["run_id"] for row in await cursor.fetchall()}
            except DatabaseUnavailable:
                if monotonic() > deadline:
                    raise
                await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _load_checkpoint_tuple(self, value: DictRow) -> CheckpointTuple:
        """Read a row. LangGraph's own does so in another thread, which takes longer than the reading."""
        place = {"thread_id": value["thread_id"], "checkpoint_ns": value["checkpoint_ns"]}
        parent = value["parent_checkpoint_id"]
        checkpoint = value["checkpoint"]
        values = (checkpoint.get("channel_values") or {}) | self._load_blobs(value["channel_values"])
        return CheckpointTuple(
            {"configurable": place | {"checkpoint_id": value["checkpoint_id"]}},
            checkpoint | {"channel_values": values},
            value["metadata"],
            {"configurable": place | {"checkpoint_id": parent}} if parent else None,
            self._load_writes(value["pending_writes"]),
        )


class _WithinTransaction(Checkpoints):
    """A saver on one connection."""

    def __init__(self, pool: Pool, connection: Connection) -> None:
        super().__init__(pool)
        self._connection = connection

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:  # noqa: ARG002
        with database_errors():
            async with self._connection.cursor(binary=True) as cursor:
                yield cursor


def _place(config: RunnableConfig, checkpoint: Checkpoint) -> RunnableConfig:
    """Return where a checkpoint is."""
    configurable = config["configurable"]
    place = {"thread_id": configurable["thread_id"], "checkpoint_ns": configurable["checkpoint_ns"]}
    return {"configurable": place | {"checkpoint_id": checkpoint["id"]}}


def _fits_json(value: object) -> bool:
    """Say whether PostgreSQL keeps a value inside the checkpoint's JSON exactly as it is."""
    match value:
        case None | bool():
            return True
        case int():
            return -_WIDEST <= value < _WIDEST
        case float():
            return isfinite(value)
        case str():
            return value.isprintable()  # neither NUL nor half a character is
    return False


class RunCheckpoints(BaseCheckpointSaver[str]):
    """The checkpoints of one run. The newest is remembered, so that the run's end need not ask the database for it.

    A step need not wait until the one before is stored: LangGraph puts one checkpoint after the other, and those that
    are ready when a batch goes out go out together. `flush` waits for all of them.

    Args:
        saver: Stores them.
        claim: The worker's, without which nothing is stored.
        durable: Whether a step waits until the one before is stored: LangGraph's durability `sync`.
        fresh: Whether the thread has no checkpoint, so that none need be looked for.
    """

    def __init__(self, saver: Checkpoints, claim: Claim, *, durable: bool, fresh: bool) -> None:
        super().__init__(serde=saver.serde)
        self._saver = saver
        self._claim = claim
        self._durable = durable
        self._fresh = fresh
        self._newest: CheckpointTuple | None = None
        self._closed = False
        self._unstored: dict[Batch, str] = {}  # each with the thread whose rows it holds
        self._writes: dict[str, dict[tuple[str, int], tuple[str, str, Any]]] = defaultdict(dict)

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return the version of a channel after one."""
        return self._saver.get_next_version(current, channel)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint: from memory if it is the thread's newest."""
        configurable = config["configurable"]
        newest = self._newest
        if newest and not configurable.get("checkpoint_ns"):
            wanted = configurable.get("checkpoint_id")
            if wanted in (None, newest.checkpoint["id"]):
                return newest._replace(pending_writes=list(self._writes[newest.checkpoint["id"]].values()))
        if self._fresh and newest is None:
            return None
        await self.flush()
        return await self._saver.aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  LangGraph's name for it
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Give checkpoints, newest first."""
        await self.flush()
        async for one in self._saver.alist(config, filter=filter, before=before, limit=limit):
            yield one

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what was written to channels since they were last stored whole."""
        await self.flush()
        return await self._saver.aget_delta_channel_history(config=config, channels=channels)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint. Returns when it is stored, or soon will be.

        Raises:
            ClaimLost: if the run is held no more, so far as that is known.
        """
        self._take()
        if not config["configurable"].get("checkpoint_ns"):
            place = {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": ""}
            parent = config["configurable"].get("checkpoint_id")
            self._newest = CheckpointTuple(
                {"configurable": place | {"checkpoint_id": checkpoint["id"]}},
                checkpoint,
                get_serializable_checkpoint_metadata(config, metadata),
                {"configurable": place | {"checkpoint_id": parent}} if parent else None,
            )
            for earlier in [one for one in self._writes if one < checkpoint["id"]]:  # ids sort by time
                del self._writes[earlier]
        await self._keep(config, self._saver.put_soon(config, checkpoint, metadata, new_versions, self._claim))
        return _place(config, checkpoint)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what the tasks of a step have written. Returns when it is stored, or soon will be.

        Raises:
            ClaimLost: if the run is held no more, so far as that is known.
        """
        self._take()
        configurable = config["configurable"]
        if not configurable["checkpoint_ns"]:
            # LangGraph stores both at once, so this may come before the checkpoint that it belongs to.
            known = self._writes[configurable["checkpoint_id"]]
            for place, (channel, value) in enumerate(writes):
                known[task_id, WRITES_IDX_MAP.get(channel, place)] = (task_id, channel, value)
        await self._keep(config, self._saver.put_writes_soon(config, writes, task_id, task_path, self._claim))

    async def flush(self) -> None:
        """Wait until all that was put is stored.

        Raises:
            ClaimLost: if it was not, because the run is held no more.
        """
        while self._unstored:
            batch, thread_id = next(iter(self._unstored.items()))
            await batch.wait(thread_id, self._claim)
            self._unstored.pop(batch, None)

    async def close(self) -> None:
        """Take nothing more of a graph that may not have ended, and wait until nothing is being stored."""
        self._closed = True
        if self._unstored:
            await asyncio.wait([batch.stored for batch in self._unstored])

    def _take(self) -> None:
        if self._closed:
            raise ClaimLost

    async def _keep(self, config: RunnableConfig, batch: Batch) -> None:
        self._unstored[batch] = config["configurable"]["thread_id"]
        if self._durable:
            await self.flush()
            return
        for earlier in [one for one in self._unstored if one.stored.done()]:
            await earlier.wait(self._unstored[earlier], self._claim)
            self._unstored.pop(earlier, None)
