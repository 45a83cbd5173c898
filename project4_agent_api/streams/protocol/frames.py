"""The frames of the streaming protocol, made from what a graph streams.

Workers make complete frames, which are stored as they are sent. A frame's `seq` increases over all runs of its thread
and is the same for every client: it counts from the millisecond in which the attempt at the run was claimed, with 1000
numbers per millisecond, more than a worker can use. The clock is the database's, and a thread's runs are executed one
after the other.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from time import time
from typing import Any, NamedTuple, cast

from langchain_core._api import suppress_langchain_beta_warning
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.stream import ProtocolEvent, StreamChannel, StreamTransformer
from langgraph.types import Interrupt

from project4_agent_api.core.serialization import public_error
from project4_agent_api.graphs.registry import Graph
from project4_agent_api.runs.spec import ClaimedRun

PER_MILLISECOND = 1000
CUSTOM, INPUT, LIFECYCLE = "custom", "input", "lifecycle"
_TASKS = "project4.tasks"
_INTERRUPT = "__interrupt__"
_TASK_FAILED = "An internal error occurred"


class Frame(NamedTuple):
    """A frame before it is numbered.

    Attributes:
        channel: The channel that clients subscribe to: `values`, `custom`, `custom:progress`.
        namespace: The namespace of its subgraph.
        node: Name of the node, if known.
        id: Replaces the number in the event id.
        timestamp: In milliseconds since 1970; default now.
    """

    channel: str
    namespace: Sequence[str]
    data: object
    node: str | None = None
    id: str | None = None
    timestamp: int | None = None

    def name(self) -> str:
        """Return the name of the event in the run's stream: channel and namespace."""
        return "|".join([self.channel, *self.namespace])

    def encode(self, run_id: object, seq: int) -> dict[str, Any]:
        """Return the frame as clients receive it."""
        method, _, name = self.channel.partition(":")
        data = {"name": name, "payload": self.data} if name else self.data
        params = {"namespace": list(self.namespace), "timestamp": self.timestamp or int(time() * 1000), "data": data}
        return {
            "type": "event",
            "event_id": f"{run_id}:{self.id or seq}",
            "seq": seq,
            "method": "input.requested" if method == INPUT else method,
            "params": params | ({"node": self.node} if self.node else {}),
        }


def question(interrupt: Mapping[str, Any], namespace: Sequence[str] = ()) -> Frame:
    """Return the frame of a question. One SDK reads its `payload`, another its `value`."""
    data = {"interrupt_id": interrupt["id"], "payload": interrupt["value"], "value": interrupt["value"]}
    return Frame(INPUT, namespace, data, id=f"input:{interrupt['id']}")


def channel_of_custom(data: object) -> str:
    """Return the channel of a custom event: `custom:progress` of one that its writer named `progress`."""
    name = data.get("name") if isinstance(data, Mapping) else None
    return f"{CUSTOM}:{name}" if isinstance(name, str) and name else CUSTOM


class _StreamAll(StreamTransformer):
    """Requests all stream modes of the protocol, and keeps the tasks, which LangGraph's own transformers remove.

    It changes no events. It runs first, so that the error of a task is known before its subgraph is reported failed.
    """

    before_builtins = True
    required_stream_modes = ("values", "updates", "messages", "tools", "custom", "tasks", "checkpoints")

    def init(self) -> dict[str, Any]:
        """Return the channel that LangGraph streams as `custom:project4.tasks`."""
        self._tasks: StreamChannel[tuple[list[str], dict[str, Any]]] = StreamChannel(_TASKS)
        return {_TASKS: self._tasks}

    def process(self, event: ProtocolEvent) -> bool:
        """Copy the tasks of all graphs: events of subgraphs pass the transformer of the outer graph too."""
        if event["method"] == "tasks" and not self.scope:
            self._tasks.push((event["params"]["namespace"], event["params"]["data"]))
        return True


class ProtocolEvents:
    """The encoder of a run's events as frames; see `runs.execution.EventEncoder`."""

    def __init__(self, run: ClaimedRun) -> None:
        self.values: Any = None
        self._run_id = run.key.run_id
        self._seq = int(run.claimed_at.timestamp() * 1000) * PER_MILLISECOND
        self._graph_id = run.spec.graph_id
        self._question_namespaces: dict[str, Sequence[str]] = {}
        self._errors: dict[str, str] = {}  # of failed tasks
        self._graph_names: dict[tuple[str, ...], str] = {}
        self._with_checkpoints: set[tuple[str, ...]] = set()
        self._held: Frame | None = None

    async def stream(
        self, graph: Graph, input_: object, config: RunnableConfig, **options: Any
    ) -> AsyncGenerator[tuple[str, object]]:
        """Execute a graph, and yield its frames with their names."""
        yield self._number(Frame(LIFECYCLE, (), {"event": "running", "graph_name": self._graph_id}))
        options |= {"output_keys": graph.output_channels}
        with suppress_langchain_beta_warning():
            stream = await graph.astream_events(input_, config, version="v3", transformers=[_StreamAll], **options)
        async with stream:
            events = aiter(stream)
            while True:
                step = asyncio.ensure_future(anext(events, None))
                try:
                    event = await asyncio.shield(step)
                except asyncio.CancelledError:
                    await stream.abort()  # waits for the graph; cancelling the step would leave the graph running
                    with contextlib.suppress(Exception):
                        await step
                    raise
                if event is None:
                    break
                for frame in self._frames_of(event):
                    for ordered in self._reorder(frame):
                        yield self._number(ordered)
        if self._held:
            yield self._number(self._held)

    def questions(self, interrupts: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[tuple[str, object]]:
        """Yield the frames of the questions that wait for an answer, given by task."""
        for interrupt in (interrupt for of_task in interrupts.values() for interrupt in of_task):
            yield self._number(question(interrupt, self._question_namespaces.get(interrupt["id"], ())))

    def _number(self, frame: Frame) -> tuple[str, object]:
        self._seq += 1
        return frame.name(), frame.encode(self._run_id, self._seq)

    def _reorder(self, frame: Frame) -> Iterator[Frame]:
        """Put a checkpoint before its values: LangGraph streams it right after them, clients expect it before."""
        place = tuple(frame.namespace)
        if frame.channel == "checkpoints":
            self._with_checkpoints.add(place)
            yield frame
        held, self._held = self._held, None
        if held:
            yield held
        if frame.channel == "values" and place in self._with_checkpoints:
            self._held = frame
        elif frame.channel != "checkpoints":
            yield frame

    def _frames_of(self, event: ProtocolEvent) -> Iterator[Frame]:
        params = event["params"]
        frame = Frame(event["method"], params["namespace"], params["data"], timestamp=params["timestamp"])
        interrupts: Sequence[Interrupt] = params.get("interrupts", ())
        for interrupt in interrupts:  # the innermost graph reports it first
            self._question_namespaces.setdefault(interrupt.id, frame.namespace)
        converters: dict[str, Callable[[Frame], Iterator[Frame]]] = {
            "values": self._convert_values,
            "updates": _convert_updates,
            "messages": _convert_message,
            "tools": _convert_tool,
            LIFECYCLE: self._convert_lifecycle,
            "checkpoints": _convert_checkpoint,
            f"{CUSTOM}:{_TASKS}": self._convert_task,
        }
        return converters.get(frame.channel, _convert_other)(frame)

    def _convert_values(self, frame: Frame) -> Iterator[Frame]:
        if not frame.namespace:
            self.values = frame.data
        yield frame

    def _convert_lifecycle(self, frame: Frame) -> Iterator[Frame]:
        data: dict[str, Any] = dict(cast("Mapping[str, Any]", frame.data))
        namespace: list[str] = data.pop("namespace")
        if data["event"] == "drained":  # another worker continues the run
            return
        node, _, task_id = namespace[-1].partition(":")
        data["graph_name"] = self._graph_names.setdefault(tuple(namespace), data.get("graph_name", node))
        if "error" in data:
            data["error"] = self._errors.get(task_id, _TASK_FAILED)
        yield frame._replace(namespace=namespace, data=data)

    def _convert_task(self, frame: Frame) -> Iterator[Frame]:
        namespace, task = cast("tuple[list[str], dict[str, Any]]", frame.data)
        if isinstance(error := task.get("error"), BaseException):
            self._errors[task["id"]] = public_error(error)["message"]
            task = task | {"error": self._errors[task["id"]]}
        yield frame._replace(channel="tasks", namespace=namespace, data=task)


def _convert_other(frame: Frame) -> Iterator[Frame]:
    if frame.channel.partition(":")[0] == CUSTOM:
        yield frame


def _convert_updates(frame: Frame) -> Iterator[Frame]:
    if _INTERRUPT not in cast("Mapping[str, Any]", frame.data):
        yield frame


def _convert_message(frame: Frame) -> Iterator[Frame]:
    """Yield the frame of a streamed message. Messages that a node returns whole are in the values only."""
    message, metadata = cast("tuple[object, Mapping[str, Any]]", frame.data)
    if isinstance(message, dict):
        yield frame._replace(data=message, node=metadata.get("langgraph_node"))


def _convert_tool(frame: Frame) -> Iterator[Frame]:
    """Yield the frame of a tool, and its result as a message too, in a namespace of its call."""
    yield frame
    message = cast("Mapping[str, Any]", frame.data).get("output")
    if not isinstance(message, ToolMessage):
        return
    call = message.tool_call_id
    text = str(message.text)
    for event in (
        {"event": "message-start", "role": "tool", "id": message.id or f"tool-{call}", "tool_call_id": call},
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
        {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": text}},
        {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": text}},
        {"event": "message-finish"},
    ):
        yield frame._replace(channel="messages", namespace=[*frame.namespace, f"tools:{call}"], data=event)


def _convert_checkpoint(frame: Frame) -> Iterator[Frame]:
    """Yield the fields of a checkpoint that a client needs to return to it; the thread's history has the rest."""
    payload = cast("Mapping[str, Any]", frame.data)
    parent = payload.get("parent_config")
    data = {
        "id": payload["config"]["configurable"]["checkpoint_id"],
        **({"parent_id": parent["configurable"]["checkpoint_id"]} if parent else {}),
        "step": payload["metadata"]["step"],
        "source": payload["metadata"]["source"],
    }
    yield frame._replace(data=data)
