"""One attempt at a run: execute its graph, publish its events, and determine how it ended."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache, partial
from time import monotonic
from typing import Any, Literal, Protocol, cast, get_type_hints
from uuid import UUID

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from loguru import logger
from pydantic import BaseModel
from typing_extensions import is_typeddict

from project4_agent_api.core.model_usage import UsageByModel
from project4_agent_api.core.postgres import Pool
from project4_agent_api.core.project_user import ProjectUser
from project4_agent_api.core.serialization import dumps, public_error
from project4_agent_api.core.storage import StorageQuota
from project4_agent_api.core.telemetry.calls import CallMetrics, observe_calls
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.tracing import Tracing
from project4_agent_api.events.ids import start_event
from project4_agent_api.events.publisher import Publisher
from project4_agent_api.graphs.checkpointer.batch_writer import Claim, ClaimLost, WrittenBytes
from project4_agent_api.graphs.checkpointer.run_saver import RunCheckpointSaver
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver
from project4_agent_api.graphs.commands import to_command
from project4_agent_api.graphs.registry import Graph, Graphs
from project4_agent_api.models import RunStatus, ThreadStatus
from project4_agent_api.runs.claims import Ending
from project4_agent_api.runs.spec import ClaimedRun, StopReason
from project4_agent_api.store.service import SharedStore
from project4_agent_api.threads.snapshots import pending_interrupts, state_errors
from shared.errors import Conflict, DatabaseUnavailable

_CANCEL_SECONDS = 10.0  # for a cancelled graph to end; after that it is left running

EncoderName = Literal["default", "protocol"]


class EventEncoder(Protocol):
    """Executes a graph, and encodes its stream as events of a run.

    Attributes:
        values: The state after the last step, as the graph streamed it; None before that.
    """

    values: Any

    def stream(
        self, graph: Graph, input_: object, config: RunnableConfig, **options: Any
    ) -> AsyncGenerator[tuple[str, object]]:
        """Execute a graph, and yield the name and the data of each event."""

    def questions(self, interrupts: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterable[tuple[str, object]]:
        """Return the events of the questions that wait for an answer, which are sent when the run has ended."""


@dataclass(frozen=True)
class ExecutionContext:
    """The parts of a worker that an execution uses.

    Attributes:
        drain_seconds: How long the current step of a run may take when the worker shuts down.
    """

    graphs: Graphs
    checkpoints: CheckpointSaver
    store: SharedStore
    publisher: Publisher
    encoders: Mapping[EncoderName, Callable[[ClaimedRun], EventEncoder]]
    timeout_seconds: float
    drain_seconds: float
    metrics: Metrics
    tracing: Tracing
    pool: Pool
    quota: StorageQuota


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        ending: To be stored; None if another worker continues the run, or it is to be rolled back.
    """

    ending: Ending | None
    result: bytes = b"{}"


class Execution:
    """One attempt at a run.

    Attributes:
        started_at: When it started, by the monotonic clock.
        stop_reason: Why it is stopped, if it is.
        finished: Whether the graph has ended and the claim is no longer needed for checkpoints.
        written: The bytes of its checkpoints.
        usage: The tokens of its model calls, until they are recorded.
    """

    def __init__(self, context: ExecutionContext, run: ClaimedRun) -> None:
        self._context = context
        self._run = run
        self._spec = run.spec
        self._stopping = asyncio.Event()
        self.written = WrittenBytes()
        self._saver = RunCheckpointSaver(
            context.checkpoints,
            Claim(run.key.run_id, run.claim, self.written),
            require_storage=partial(context.quota.require, context.pool, run.key.owner_id),
            stop=self._stopping.set,
            durable=run.spec.durability == "sync",
            thread_is_empty=not run.has_state,
        )
        self._control = RunControl()
        self._graph: Graph | None = None
        self._encoder = context.encoders["protocol" if run.spec.protocol else "default"](run)
        self.publisher = context.publisher.for_attempt(run.key.owner_id, run.key.thread_id, run.key.run_id, run.attempt)
        self.claim = run.claim
        self.graph_id = run.spec.graph_id
        self.started_at = monotonic()
        self.stop_reason: StopReason | None = None
        self.finished = False
        self.usage = UsageByModel()

    def stop(self, reason: StopReason) -> None:
        """Stop the graph: after the current step if the worker shuts down, otherwise at once."""
        if reason == StopReason.DRAIN:
            self._control.request_drain()
        self.stop_reason = reason
        self._stopping.set()

    async def execute(self) -> Outcome:
        """Execute the graph until it ends, is stopped, or takes too long."""
        run = self._run
        attributes: dict[str, str | int | float] = {
            "run_id": str(run.key.run_id),
            "thread_id": str(run.key.thread_id),
            "attempt": run.attempt,
            "request_id": run.request_id or "",
            "seconds_queued": run.seconds_queued,
        }
        with self._context.tracing.executing_run(self.graph_id, run.traceparent, attributes) as set_status:
            outcome = await self._attempt()
            set_status(outcome.ending.status if outcome.ending else self.stop_reason or "")
        return outcome

    async def _attempt(self) -> Outcome:
        start = start_event(self._run.key.run_id, self._run.attempt)
        self.publisher.put(start.name, start.data)
        with observe_calls(self._context.metrics) as calls:
            work = asyncio.create_task(self._execute_graph())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait(
                [work, stopping], timeout=self._context.timeout_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not work.done():
                await self._cancel(work)
        finally:
            stopping.cancel()
        if not work.done():
            logger.error("the graph ignores its cancellation; it is left running")
        error = self._saver.refused or (work.exception() if work.done() and not work.cancelled() else None)
        if isinstance(error, ClaimLost):
            self.stop_reason = StopReason.LOST
        await self._saver.close()
        self.finished = True
        self.usage = calls.usage
        self._observe_waiting(calls)
        try:
            return await self._outcome(error, in_time=work.done() and not work.cancelled())
        except DatabaseUnavailable:  # not the run's fault: it continues when the database has recovered
            self.stop_reason = StopReason.DATABASE_UNAVAILABLE
            return Outcome(None)

    def _observe_waiting(self, calls: CallMetrics) -> None:
        """Observe how long the client waited for the first attempt, and for its first token."""
        if self._run.attempt > 1:
            return
        metrics, queued = self._context.metrics, self._run.seconds_queued
        metrics.run_queue_time.labels(self.graph_id).observe(queued)
        if calls.first_token_at:
            metrics.run_first_token.labels(self.graph_id).observe(queued + calls.first_token_at - self.started_at)

    def publish_questions(self, outcome: Outcome) -> None:
        """Publish the questions that wait for an answer, after the end was stored, because now they can be answered."""
        if outcome.ending and outcome.ending.interrupts:
            for name, data in self._encoder.questions(outcome.ending.interrupts):
                self.publisher.put(name, dumps(data))

    async def state_before(self) -> Ending:
        """Return the state of the thread after the checkpoints of this run were deleted."""
        config, configurable = self._config()
        async with self._open(config, configurable, self._context.checkpoints) as graph:
            return await _ending_if_readable(graph, self._run.key.thread_id, RunStatus.INTERRUPTED)

    def _open(
        self, config: RunnableConfig, configurable: dict[str, Any], saver: BaseCheckpointSaver[str]
    ) -> AbstractAsyncContextManager[Graph]:
        store = self._context.store.for_owner(self._run.key.owner_id)
        return self._context.graphs.open(configurable["graph_id"], config, checkpointer=saver, store=store)

    async def _cancel(self, work: asyncio.Task[None]) -> None:
        if self.stop_reason == StopReason.DRAIN:  # the graph was asked to end after its step
            await asyncio.wait([work], timeout=self._context.drain_seconds)
        if not work.done():
            work.cancel()
            await asyncio.wait([work], timeout=_CANCEL_SECONDS)

    async def _execute_graph(self) -> None:
        spec = self._spec
        config, configurable = self._config()
        async with self._open(config, configurable, self._saver) as graph:
            self._graph = graph
            options: dict[str, Any] = {"durability": spec.durability, "context": _context_for(graph, spec.context)}
            if spec.interrupt_before is not None:
                options["interrupt_before"] = spec.interrupt_before
            if spec.interrupt_after is not None:
                options["interrupt_after"] = spec.interrupt_after
            if "events" not in spec.stream_mode:
                options["control"] = self._control
            try:
                async for name, data in self._encoder.stream(graph, await self._input(configurable), config, **options):
                    if isinstance(data, dict) and "__interrupt__" in data:
                        await self._store_question()
                    self.publisher.put(name, dumps(data))
                    await self.publisher.wait_for_capacity()
                if spec.feedback_keys:
                    self.publisher.put("feedback", dumps(spec.feedback_urls(self._run.key.run_id)))
            finally:
                await self._saver.flush()

    async def _store_question(self) -> None:
        """Store the state in which the graph was interrupted: clients read it when they receive the question."""
        await asyncio.sleep(0)  # LangGraph has scheduled the write
        await self._saver.flush()

    def _config(self) -> tuple[RunnableConfig, dict[str, Any]]:
        run = self._run
        config = dict(self._spec.config)
        configurable = config["configurable"] | {"langgraph_request_id": run.request_id}
        if user := configurable.get("langgraph_auth_user") or configurable.get("langgraph_auth_user_id"):
            configurable["langgraph_auth_user"] = ProjectUser(user)  # LangGraph wants an object with attributes
        marks = {
            "run_id": str(run.key.run_id),
            "thread_id": str(run.key.thread_id),
            "run_attempt": run.attempt,
        }
        config |= {"configurable": configurable, "metadata": run.metadata | config.get("metadata", {}) | marks}
        if run.attempt == 1:  # tracers identify a run by its id, and reject a second one with the same id
            config["run_id"] = run.key.run_id
        return cast("RunnableConfig", config), configurable

    async def _input(self, configurable: dict[str, Any]) -> object:
        """Return the graph's input; None if an earlier attempt at this run has stored a checkpoint already."""
        if self._run.attempt > 1:
            thread = {"thread_id": configurable["thread_id"], "checkpoint_ns": ""}
            newest = await self._context.checkpoints.aget_tuple({"configurable": thread})
            if newest and newest.metadata.get("run_id") == str(self._run.key.run_id):
                configurable.pop("checkpoint_id", None)
                return None
        return to_command(self._spec.command) if self._spec.command else self._spec.input

    async def _outcome(self, error: BaseException | None, *, in_time: bool) -> Outcome:
        if self.stop_reason in (StopReason.LOST, StopReason.ROLLBACK):
            return Outcome(None)
        if self.stop_reason == StopReason.DRAIN and (not in_time or isinstance(error, GraphDrained)):
            return Outcome(None)
        if isinstance(error, DatabaseUnavailable):
            raise error
        if error is not None:
            logger.opt(exception=error).warning("the graph failed: {}", type(error).__name__)
            return await self._failure(RunStatus.ERROR, public_error(error))
        if in_time:
            return await self._success()
        if self.stop_reason == StopReason.INTERRUPT:
            return await self._interruption()
        message = f"The run took more than {self._context.timeout_seconds:g} s."
        return await self._failure(RunStatus.TIMEOUT, {"error": "TimeoutError", "message": message})

    async def _success(self) -> Outcome:
        ending = await self._ending(RunStatus.SUCCESS)
        values = self._encoder.values
        if values is None:  # an attempt that found nothing left to do streamed nothing
            return Outcome(ending, ending.values or b"{}")
        interrupts = [interrupt for of_task in (ending.interrupts or {}).values() for interrupt in of_task]
        if interrupts:  # all of them: the graph streams each one alone
            values = orjson.loads(dumps(values))  # a state may be a dataclass or a model
            values = (values if isinstance(values, dict) else {}) | {"__interrupt__": interrupts}
        return Outcome(ending, dumps(values))

    async def _interruption(self) -> Outcome:
        ending = await self._ending(RunStatus.INTERRUPTED)
        error = {"error": "UserInterrupt", "message": "The run was stopped."}
        values = self._encoder.values
        return Outcome(replace(ending, error=error), b"{}" if values is None else dumps(values))

    async def _failure(self, status: RunStatus, error: dict[str, str]) -> Outcome:
        ending = await self._ending(status)
        self.publisher.put("error", dumps(error))
        return Outcome(replace(ending, error=error, thread_status=ThreadStatus.ERROR), dumps({"__error__": error}))

    async def _ending(self, status: RunStatus) -> Ending:
        if self._graph is None:  # it could not be opened
            return Ending(status, ThreadStatus.IDLE)
        read = _ending if status == RunStatus.SUCCESS else _ending_if_readable
        return await read(self._graph, self._run.key.thread_id, status)


def _context_for(graph: Graph, values: dict[str, Any]) -> dict[str, Any] | None:
    """Return the values of a run's context that the graph's schema has. LangGraph adds the defaults of the others."""
    if graph.context_schema is None:
        return values or None
    names = _context_names(cast("Hashable", graph.context_schema))
    return values if names is None else {name: value for name, value in values.items() if name in names}


@lru_cache(maxsize=1000)
def _context_names(schema: Any) -> frozenset[str] | None:  # noqa: ANN401  any class
    """Return the names that a context's schema has; None if it takes any."""
    if is_dataclass(schema):
        return frozenset(field.name for field in fields(schema) if field.init)
    if is_typeddict(schema):
        return frozenset(get_type_hints(schema))
    if issubclass(schema, BaseModel) and schema.model_config.get("extra") != "allow":
        aliases = {field.alias for field in schema.model_fields.values() if field.alias}
        return frozenset(schema.model_fields) | aliases
    return None


async def _ending_if_readable(graph: Graph, thread_id: UUID, status: RunStatus) -> Ending:
    """Read the state of a thread; if its graph cannot, leave the thread's stored state as it is."""
    try:
        with state_errors():
            return await _ending(graph, thread_id, status)
    except Conflict:
        return Ending(status, ThreadStatus.IDLE)


async def _ending(graph: Graph, thread_id: UUID, status: RunStatus) -> Ending:
    """Read the state of a thread."""
    state = await graph.aget_state({"configurable": {"thread_id": str(thread_id), "checkpoint_ns": ""}})
    return Ending(
        status,
        ThreadStatus.INTERRUPTED if state.next else ThreadStatus.IDLE,
        values=dumps(state.values),
        interrupts=pending_interrupts(state),
    )
