"""One attempt at a run: execute its graph, send its events, and say how it ended."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.pregel import Pregel
from langgraph.runtime import RunControl
from langgraph.types import Command, Send
from loguru import logger

from project4_agent_api.core.postgres import Row
from project4_agent_api.core.serialization import dumps, error_of
from project4_agent_api.core.telemetry.calls import Calls, observing_calls
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.tracing import Tracing
from project4_agent_api.events.publisher import Publisher, RunPublisher
from project4_agent_api.graphs.checkpointer.batch_writer import Claim, ClaimLost
from project4_agent_api.graphs.checkpointer.run_saver import RunCheckpointSaver
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.models import RunStatus, ThreadStatus
from project4_agent_api.runs.graph_events import GraphEvents
from project4_agent_api.runs.repository import Ending
from project4_agent_api.store.service import SharedStore
from project4_agent_api.streams.protocol.frames import ProtocolEvents
from project4_agent_api.threads.state import interrupts_of, reading_states
from shared.errors import Conflict, DatabaseUnavailable

_GRACE_SECONDS = 10.0  # for a graph that was told to stop; after it, it is left to itself

INTERRUPT, ROLLBACK, DRAIN, LOST, AWAY = "interrupt", "rollback", "drain", "lost", "away"


@dataclass(frozen=True)
class Engine:
    """What executing takes.

    Attributes:
        graphs: All that can be executed.
        checkpoints: Where their states are.
        store: What they remember across threads, of all owners.
        publisher: Sends events.
        timeout_seconds: How long a run may take.
        drain_seconds: How long the step of a run may go on that is to be given back.
        metrics: Where is counted what a run does.
        tracing: Tells what it does.
    """

    graphs: Graphs
    checkpoints: CheckpointSaver
    store: SharedStore
    publisher: Publisher
    timeout_seconds: float
    drain_seconds: float
    metrics: Metrics
    tracing: Tracing


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        ending: To be stored; None if the run goes on elsewhere, or is to be taken back.
        result: What whoever waits for the run is given, as JSON.
    """

    ending: Ending | None
    result: bytes = b"{}"


class Execution:
    """One attempt at a run.

    Args:
        engine: What it takes.
        run: As `claim_next` gives it.
    """

    def __init__(self, engine: Engine, run: Row) -> None:
        self._engine = engine
        self._run = run
        self._kwargs: dict[str, Any] = run["kwargs"]
        self._saver = RunCheckpointSaver(
            engine.checkpoints,
            Claim(run["run_id"], run["claim"]),
            durable=self._kwargs["durability"] == "sync",
            thread_is_empty=not run["has_state"],
        )
        self._control = RunControl()
        self._stopping = asyncio.Event()
        self._graph: Pregel[Any, Any, Any, Any] | None = None
        self._events = (
            ProtocolEvents(run)
            if self._kwargs.get("protocol")
            else GraphEvents(self._kwargs["stream_mode"], subgraphs=self._kwargs["subgraphs"])
        )
        self.publisher: RunPublisher = engine.publisher.of(run["thread_id"], run["run_id"], run["attempt"])
        self.claim: UUID = run["claim"]
        self.graph_id: str = self._kwargs["config"]["configurable"]["graph_id"]
        self.began = monotonic()
        self.stop_reason: str | None = None
        self.over = False

    def stop(self, reason: str) -> None:
        """End it early: at once, or with the reason `drain` after the step that it is at."""
        if reason == DRAIN:
            self._control.request_drain()
        self.stop_reason = reason
        self._stopping.set()

    async def run(self) -> Outcome:
        """Execute the graph until it ends, is stopped, or takes too long."""
        with self._engine.tracing.executing(self._run, self.graph_id) as ended:
            outcome = await self._attempt()
            ended(outcome.ending.status if outcome.ending else self.stop_reason or "")
        return outcome

    async def _attempt(self) -> Outcome:
        self.publisher.put("metadata", dumps({"run_id": self._run["run_id"], "attempt": self._run["attempt"]}))
        with observing_calls(self._engine.metrics) as calls:
            work = asyncio.create_task(self._execute())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait(
                [work, stopping], timeout=self._engine.timeout_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not work.done():
                await self._end(work)
        finally:
            stopping.cancel()
        if not work.done():
            logger.error("the graph does not end; it is left to itself")
        error = work.exception() if work.done() and not work.cancelled() else None
        if isinstance(error, ClaimLost):
            self.stop_reason = LOST
        await self._saver.close()
        self.over = True
        self._count(calls)
        try:
            return await self._outcome(error, in_time=work.done() and not work.cancelled())
        except DatabaseUnavailable:  # nothing is wrong with the run: it is gone on with when the database is back
            self.stop_reason = AWAY
            return Outcome(None)

    def _count(self, calls: Calls) -> None:
        """Count how long somebody has waited: for the first attempt, and for a token of it."""
        if self._run["attempt"] > 1:
            return
        metrics, waited = self._engine.metrics, self._run["waited"]
        metrics.waited.labels(self.graph_id).observe(waited)
        if calls.first_token_at:
            metrics.first_token.labels(self.graph_id).observe(waited + calls.first_token_at - self.began)

    def ask(self, outcome: Outcome) -> None:
        """Send the questions that wait for an answer, where the run is streamed so, now that they can be answered."""
        if isinstance(self._events, ProtocolEvents) and outcome.ending and outcome.ending.interrupts:
            for name, data in self._events.questions(outcome.ending.interrupts):
                self.publisher.put(name, dumps(data))

    async def state_before(self) -> Ending:
        """Say what the thread is like when the checkpoints of this run are forgotten."""
        config, configurable = self._config()
        async with self._open(config, configurable, self._engine.checkpoints) as graph:
            return await _ending_if_readable(graph, self._run["thread_id"], RunStatus.INTERRUPTED)

    def _open(
        self, config: RunnableConfig, configurable: dict[str, Any], saver: BaseCheckpointSaver[str]
    ) -> AbstractAsyncContextManager[Pregel[Any, Any, Any, Any]]:
        store = self._engine.store.of(self._run["owner_id"])
        return self._engine.graphs.open(configurable["graph_id"], config, checkpointer=saver, store=store)

    async def _end(self, work: asyncio.Task[None]) -> None:
        if self.stop_reason == DRAIN:  # it is asked to end after its step, and given some time for that
            await asyncio.wait([work], timeout=self._engine.drain_seconds)
        if not work.done():
            work.cancel()
            await asyncio.wait([work], timeout=_GRACE_SECONDS)

    async def _execute(self) -> None:
        config, configurable = self._config()
        async with self._open(config, configurable, self._saver) as graph:
            self._graph = graph
            options = {
                name: self._kwargs[name]
                for name in ("interrupt_before", "interrupt_after")
                if self._kwargs[name] is not None
            }
            options |= {"durability": self._kwargs["durability"], "context": self._kwargs["context"] or None}
            if "events" not in self._kwargs["stream_mode"]:
                options["control"] = self._control
            try:
                async for name, data in self._events.of(graph, await self._input(configurable), config, **options):
                    self.publisher.put(name, dumps(data))
                    await self.publisher.room()
            finally:
                await self._saver.flush()

    def _config(self) -> tuple[RunnableConfig, dict[str, Any]]:
        run = self._run
        config = dict(self._kwargs["config"])
        configurable = config["configurable"] | {"langgraph_request_id": run["request_id"]}
        marks = {
            "run_id": str(run["run_id"]),
            "thread_id": str(run["thread_id"]),
            "run_attempt": run["attempt"],
        }
        config |= {"configurable": configurable, "metadata": run["metadata"] | config.get("metadata", {}) | marks}
        if run["attempt"] == 1:  # tracers know a run by its id, and take no second one of the same
            config["run_id"] = run["run_id"]
        return cast("RunnableConfig", config), configurable

    async def _input(self, configurable: dict[str, Any]) -> object:
        """Return what the graph begins with: nothing, where an earlier attempt at this run has begun already."""
        if self._run["attempt"] > 1:
            thread = {"thread_id": configurable["thread_id"], "checkpoint_ns": ""}
            newest = await self._engine.checkpoints.aget_tuple({"configurable": thread})
            if newest and newest.metadata.get("run_id") == str(self._run["run_id"]):
                configurable.pop("checkpoint_id", None)
                return None
        return command_of(self._kwargs["command"]) if self._kwargs["command"] else self._kwargs["input"]

    async def _outcome(self, error: BaseException | None, *, in_time: bool) -> Outcome:
        if self.stop_reason in (LOST, ROLLBACK):
            return Outcome(None)
        if self.stop_reason == DRAIN and (not in_time or isinstance(error, GraphDrained)):
            return Outcome(None)
        if isinstance(error, DatabaseUnavailable):
            raise error
        if error is not None:
            logger.opt(exception=error).warning("the graph has failed: {}", type(error).__name__)
            return await self._failed(RunStatus.ERROR, error_of(error))
        if in_time:
            return await self._succeeded()
        if self.stop_reason == INTERRUPT:
            return await self._interrupted()
        message = f"The run took more than {self._engine.timeout_seconds:g} s."
        return await self._failed(RunStatus.TIMEOUT, {"error": "TimeoutError", "message": message})

    async def _succeeded(self) -> Outcome:
        ending = await self._ending(RunStatus.SUCCESS)
        # An attempt that found nothing left to do has shown nothing.
        shown = self._events.values
        if shown is None:
            return Outcome(ending, ending.values or b"{}")
        asked = [one for questions in (ending.interrupts or {}).values() for one in questions]
        if asked and isinstance(shown, dict):
            shown = shown | {"__interrupt__": asked}  # all of them: the graph shows each in turn
        return Outcome(ending, dumps(shown))

    async def _interrupted(self) -> Outcome:
        ending = await self._ending(RunStatus.INTERRUPTED)
        reason = {"error": "UserInterrupt", "message": "The run was stopped."}
        shown = self._events.values
        return Outcome(replace(ending, error=reason), b"{}" if shown is None else dumps(shown))

    async def _failed(self, status: RunStatus, error: dict[str, str]) -> Outcome:
        ending = await self._ending(status)
        self.publisher.put("error", dumps(error))
        return Outcome(replace(ending, error=error, thread_status=ThreadStatus.ERROR), dumps({"__error__": error}))

    async def _ending(self, status: RunStatus) -> Ending:
        if self._graph is None:  # it was not even opened
            return Ending(status, ThreadStatus.IDLE)
        read = _ending if status == RunStatus.SUCCESS else _ending_if_readable
        return await read(self._graph, self._run["thread_id"], status)


async def _ending_if_readable(graph: Pregel[Any, Any, Any, Any], thread_id: UUID, status: RunStatus) -> Ending:
    """Say what a thread is like now; where its graph cannot read its state, the thread shows what it has shown."""
    try:
        with reading_states():
            return await _ending(graph, thread_id, status)
    except Conflict:
        return Ending(status, ThreadStatus.IDLE)


async def _ending(graph: Pregel[Any, Any, Any, Any], thread_id: UUID, status: RunStatus) -> Ending:
    """Say what a thread is like now."""
    state = await graph.aget_state({"configurable": {"thread_id": str(thread_id), "checkpoint_ns": ""}})
    return Ending(
        status,
        ThreadStatus.INTERRUPTED if state.next else ThreadStatus.IDLE,
        values=dumps(state.values),
        interrupts=interrupts_of(state),
    )


def command_of(command: dict[str, Any]) -> Command[Any]:
    """Return what a client asks of a graph, as LangGraph knows it."""
    goto = command.get("goto")
    update = command.get("update")
    if isinstance(update, list):
        update = [tuple(pair) for pair in update]
    places = goto if isinstance(goto, list) else [] if goto is None else [goto]
    return Command(
        update=update,
        resume=command.get("resume"),
        goto=[place if isinstance(place, str) else Send(place["node"], place.get("input")) for place in places],
    )
