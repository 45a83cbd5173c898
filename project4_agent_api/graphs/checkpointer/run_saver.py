"""The checkpoint saver of one run: it caches the newest checkpoint, and writes only while the run's claim is valid."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

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

from project4_agent_api.graphs.checkpointer.batch_writer import COUNTED_BYTES, Batch, Claim, ClaimLost
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver, checkpoint_config
from shared.errors import StorageQuotaExceeded

T = TypeVar("T")


class RunCheckpointSaver(BaseCheckpointSaver[str]):
    """The checkpoint saver of one run.

    The newest checkpoint is cached, so that the end of the run needs no query. A step need not wait until the one
    before it is stored: LangGraph puts its checkpoints in order, and a batch takes all that are ready. `flush` waits
    for all of them. The methods without `a` are for a node in a thread that calls a subgraph synchronously.

    Args:
        claim: The worker's claim; nothing is stored after it is lost.
        durable: Whether each step waits until the one before is stored: LangGraph's durability `sync`.
        thread_is_empty: Whether the thread has no checkpoint yet, so that no query is needed to find the newest.
        require_storage: Checks that the run's user may store so many bytes that are not counted yet, and returns how
            many more; called after each mebibyte.
        stop: Stops the run if not.

    Attributes:
        refused: Why the run must not store more.
    """

    def __init__(
        self,
        saver: CheckpointSaver,
        claim: Claim,
        *,
        durable: bool,
        thread_is_empty: bool,
        require_storage: Callable[[int], Awaitable[int]],
        stop: Callable[[], None],
    ) -> None:
        super().__init__(serde=saver.serde)
        self.refused: StorageQuotaExceeded | None = None
        self._require_storage = require_storage
        self._stop = stop
        self._next_check = COUNTED_BYTES
        self._checking = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._saver = saver
        self._claim = claim
        self._durable = durable
        self._thread_is_empty = thread_is_empty
        self._newest: CheckpointTuple | None = None
        self._closed = False
        self._unstored: dict[Batch, str] = {}  # each with the thread of its rows
        self._writes: dict[str, dict[tuple[str, int], tuple[str, str, Any]]] = defaultdict(dict)

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return the version of a channel that follows the current one."""
        return self._saver.get_next_version(current, channel)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint, without a query if it is the newest of the thread."""
        configurable = config["configurable"]
        newest = self._newest
        if newest and not configurable.get("checkpoint_ns"):
            newest_id = newest.checkpoint["id"]
            if configurable.get("checkpoint_id") in (None, newest_id):
                return newest._replace(pending_writes=list(self._writes[newest_id].values()))
        if self._thread_is_empty and newest is None:
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
        """Yield checkpoints, newest first."""
        await self.flush()
        async for checkpoint in self._saver.alist(config, filter=filter, before=before, limit=limit):
            yield checkpoint

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return the writes to channels since they were last stored whole."""
        await self.flush()
        return await self._saver.aget_delta_channel_history(config=config, channels=channels)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, and return its config: once it is stored if the run is durable, at once otherwise.

        Raises:
            ClaimLost: if the saver is closed, or the claim is already known to be lost.
        """
        await self._admit()
        configurable = config["configurable"]
        if not configurable.get("checkpoint_ns"):
            location: RunnableConfig = {"configurable": {"thread_id": configurable["thread_id"], "checkpoint_ns": ""}}
            parent_id = configurable.get("checkpoint_id")
            self._newest = CheckpointTuple(
                checkpoint_config(location, checkpoint["id"]),
                checkpoint,
                get_serializable_checkpoint_metadata(config, metadata),
                checkpoint_config(location, parent_id) if parent_id else None,
            )
            for earlier_id in [id_ for id_ in self._writes if id_ < checkpoint["id"]]:  # ids sort by time
                del self._writes[earlier_id]
        batch = self._saver.enqueue_checkpoint(config, checkpoint, metadata, new_versions, self._claim)
        await self._track(config, batch)
        return checkpoint_config(config, checkpoint["id"])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of a step's tasks; wait until they are stored only if the run is durable.

        Raises:
            ClaimLost: if the saver is closed, or the claim is already known to be lost.
        """
        await self._admit()
        configurable = config["configurable"]
        if not configurable["checkpoint_ns"]:
            # LangGraph stores both concurrently, so the writes may arrive before their checkpoint.
            cached = self._writes[configurable["checkpoint_id"]]
            for index, (channel, value) in enumerate(writes):
                cached[task_id, WRITES_IDX_MAP.get(channel, index)] = (task_id, channel, value)
        await self._track(config, self._saver.enqueue_writes(config, writes, task_id, task_path, self._claim))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint."""
        return self._wait(self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  LangGraph's name for it
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, newest first."""

        async def found() -> Sequence[CheckpointTuple]:
            return [stored async for stored in self.alist(config, filter=filter, before=before, limit=limit)]

        yield from self._wait(found())

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return the writes to channels since they were last stored whole."""
        return self._wait(self.aget_delta_channel_history(config=config, channels=channels))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, and return its config."""
        return self._wait(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of a step's tasks."""
        self._wait(self.aput_writes(config, writes, task_id, task_path))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait in another thread for work of the event loop.

        Raises:
            RuntimeError: in the event loop's thread, where waiting would block the work itself.
        """
        try:
            in_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:  # no loop runs in this thread
            in_loop = False
        if in_loop:
            work.close()
            raise RuntimeError("an async node has to call a graph with await and ainvoke or astream")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def flush(self) -> None:
        """Wait until everything that was put is stored.

        Raises:
            ClaimLost: if it was not stored because another worker has claimed the run.
        """
        while self._unstored:
            batch, thread_id = next(iter(self._unstored.items()))
            await batch.wait(thread_id, self._claim)
            self._unstored.pop(batch, None)

    async def close(self) -> None:
        """Refuse further writes of a graph that may still be running, and wait until none is in progress."""
        self._closed = True
        if self._unstored:
            await asyncio.wait([batch.stored for batch in self._unstored])

    async def _admit(self) -> None:
        """Check, before something is put, that the run may store it: its claim, and now and then its user's quota."""
        self._refuse_if_closed()
        if self._claim.written.total < self._next_check:
            return
        async with self._checking:  # other writes of the run wait
            self._refuse_if_closed()
            written = self._claim.written
            if written.total < self._next_check:
                return
            await self.flush()
            try:
                left = await self._require_storage(written.uncounted)
            except StorageQuotaExceeded as error:
                self.refused = error
                self._stop()
                raise
            self._next_check = written.total + min(left, COUNTED_BYTES)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClaimLost
        if self.refused:
            raise self.refused

    async def _track(self, config: RunnableConfig, batch: Batch) -> None:
        """Remember a batch until it is stored, and raise the errors of batches that have finished."""
        self._unstored[batch] = config["configurable"]["thread_id"]
        if self._durable:
            await self.flush()
            return
        for finished in [batch for batch in self._unstored if batch.stored.done()]:
            await finished.wait(self._unstored[finished], self._claim)
            self._unstored.pop(finished, None)
