"""A checkpoint saver that reads over a pool, and writes in batches.

LangGraph's `AsyncPostgresSaver` holds one lock for everything that it does, although it has a pool, and deserializes in
threads. This one borrows a connection for each read; `batch_writer` has the measurements.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import isfinite
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from orjson import Fragment
from psycopg import AsyncCursor
from psycopg.rows import DictRow

from project4_agent_api.core.postgres import Connection, Pool
from project4_agent_api.core.serialization import dumps
from project4_agent_api.graphs.checkpointer.batch_writer import Batch, BatchWriter, Claim
from shared.database.errors import database_errors

_INT_LIMIT = 2**63  # JSON does not keep larger integers exactly


class CheckpointSaver(AsyncPostgresSaver):
    """LangGraph's checkpoint saver over a pool.

    Args:
        pool: Open while the saver is used.
        serde: Serializer of values and writes; an `EncryptedSerializer` gets all of them.
        retry_seconds: How long a write is retried while the database is unavailable.
    """

    def __init__(self, pool: Pool, *, serde: SerializerProtocol | None = None, retry_seconds: float = 0) -> None:
        super().__init__(pool, serde=serde)
        self._pool = pool
        self._encrypts = isinstance(self.serde, EncryptedSerializer)
        self._writer = BatchWriter(self._cursor, retry_seconds)

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

    def in_transaction(self, connection: Connection) -> "CheckpointSaver":
        """Return a saver that reads and writes within the connection's open transaction."""
        return _TransactionSaver(self._pool, connection, self.serde)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, and return its config once it is stored."""
        batch = self.enqueue_checkpoint(config, checkpoint, metadata, new_versions, claim=None)
        await batch.wait(config["configurable"]["thread_id"], claim=None)
        return checkpoint_config(config, checkpoint["id"])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of a step's tasks, and return once they are stored."""
        batch = self.enqueue_writes(config, writes, task_id, task_path, claim=None)
        await batch.wait(config["configurable"]["thread_id"], claim=None)

    def enqueue_checkpoint(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        claim: Claim | None,
    ) -> Batch:
        """Add a checkpoint to the next batch, and return the batch."""
        configurable = config["configurable"]
        thread_id, namespace = configurable["thread_id"], configurable["checkpoint_ns"]
        inline: dict[str, Any] = {}
        separate: dict[str, Any] = {}
        for channel, value in checkpoint["channel_values"].items():
            if isinstance(value, _DeltaSnapshot):
                inline[channel], separate[channel] = True, value
            elif _fits_json(value) and not self._encrypts:
                inline[channel] = value
            else:
                separate[channel] = value
        batch = self._writer.next_batch()
        versions = {channel: version for channel, version in new_versions.items() if channel in separate}
        for row in self._dump_blobs(thread_id, namespace, separate, versions):
            batch.add("blobs", row, claim, len(row[5] or b""))
        content = dumps(checkpoint | {"channel_values": inline})
        serializable = dumps(get_serializable_checkpoint_metadata(config, metadata))
        fragments = Fragment(content), Fragment(serializable)
        state = (thread_id, namespace, checkpoint["id"], configurable.get("checkpoint_id"), *fragments)
        batch.add("checkpoints", state, claim, len(content) + len(serializable))
        return batch

    def enqueue_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
        claim: Claim | None,
    ) -> Batch:
        """Add the writes of a step's tasks to the next batch, and return the batch."""
        configurable = config["configurable"]
        key = (configurable["thread_id"], configurable["checkpoint_ns"], configurable["checkpoint_id"])
        kind = "special_writes" if all(channel in WRITES_IDX_MAP for channel, _ in writes) else "writes"
        batch = self._writer.next_batch()
        for row in self._dump_writes(*key, task_id, task_path, writes):
            batch.add(kind, row, claim, len(row[8] or b""))
        return batch

    async def _load_checkpoint_tuple(self, value: DictRow) -> CheckpointTuple:
        """Deserialize a row. LangGraph's own method does so in a thread; the hop takes longer than the work."""
        location = {"thread_id": value["thread_id"], "checkpoint_ns": value["checkpoint_ns"]}
        parent_id = value["parent_checkpoint_id"]
        checkpoint = value["checkpoint"]
        values = (checkpoint.get("channel_values") or {}) | self._load_blobs(value["channel_values"])
        return CheckpointTuple(
            {"configurable": location | {"checkpoint_id": value["checkpoint_id"]}},
            checkpoint | {"channel_values": values},
            value["metadata"],
            {"configurable": location | {"checkpoint_id": parent_id}} if parent_id else None,
            self._load_writes(value["pending_writes"]),
        )


class _TransactionSaver(CheckpointSaver):
    """A saver that uses one connection."""

    def __init__(self, pool: Pool, connection: Connection, serde: SerializerProtocol) -> None:
        super().__init__(pool, serde=serde)
        self._connection = connection

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:  # noqa: ARG002  the base class passes it
        with database_errors():
            async with self._connection.cursor(binary=True) as cursor:
                yield cursor


def checkpoint_config(config: RunnableConfig, checkpoint_id: str) -> RunnableConfig:
    """Return the config of a checkpoint in the same thread and namespace."""
    configurable = config["configurable"]
    location = {"thread_id": configurable["thread_id"], "checkpoint_ns": configurable["checkpoint_ns"]}
    return {"configurable": location | {"checkpoint_id": checkpoint_id}}


def _fits_json(value: object) -> bool:
    """Return whether PostgreSQL keeps a value exactly inside the checkpoint's JSON."""
    match value:
        case None | bool():
            return True
        case int():
            return -_INT_LIMIT <= value < _INT_LIMIT
        case float():
            return isfinite(value)
        case str():
            return value.isprintable()  # excludes NUL and lone surrogates
    return False
