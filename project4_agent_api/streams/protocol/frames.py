"""What a graph streams, as frames of the streaming protocol: one for each thing that happens.

A worker makes them whole, and they are stored as they will be sent. A frame's `seq` grows over all runs of its thread
and is the same for whoever reads it, now or again: it counts from the millisecond in which the attempt at the run was
claimed, a thousand to each, which no worker can exceed. The clock is the database's, and a thread's runs are executed
one after the other.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from time import time
from typing import Any, NamedTuple, cast

from langchain_core._api import suppress_langchain_beta_warning
from langchain_core.language_models._compat_bridge import message_to_events  # LangGraph's own way to do this
from langchain_core.messages import BaseMessage, BaseMessageChunk, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel
from langgraph.stream import ProtocolEvent, StreamChannel, StreamTransformer
from langgraph.types import Interrupt

from project4_agent_api.core.postgres import Row
from project4_agent_api.core.serialization import error_of

PER_MILLISECOND = 1000
INPUT, LIFECYCLE = "input", "lifecycle"
_TASKS = "project4.tasks"
_CUSTOM = "custom"
_INTERRUPT = "__interrupt__"
_TASK_FAILED = "An internal error occurred"


class Frame(NamedTuple):
    """A frame before it has its number.

    Attributes:
        channel: What it can be subscribed to by: `values`, `custom`, `custom:progress`.
        namespace: Of the subgraph that it comes from.
        data: What happened.
        node: Which node it comes from, where that is known.
        id: That it is known by, if not by its number.
        timestamp: When, in milliseconds since 1970; now, if not given.
    """

    channel: str
    namespace: Sequence[str]
    data: object
    node: str | None = None
    id: str | None = None
    timestamp: int | None = None

    def name(self) -> str:
        """Return how it is named in the run's stream: by its channel and namespace."""
        return "|".join([self.channel, *self.namespace])

    def sent(self, run_id: object, seq: int) -> dict[str, Any]:
        """Return it as it is sent."""
        method, _, name = self.channel.partition(":")
        data = self.data
        if method == _CUSTOM:
            data = ({"name": name} if name else {}) | {"payload": data}
        params = {"namespace": list(self.namespace), "timestamp": self.timestamp or int(time() * 1000), "data": data}
        return {
            "type": "event",
            "event_id": f"{run_id}:{self.id or seq}",
            "seq": seq,
            "method": "input.requested" if method == INPUT else method,
            "params": params | ({"node": self.node} if self.node else {}),
        }


def question(asked: Mapping[str, Any], namespace: Sequence[str] = ()) -> Frame:
    """Return the frame of a question that a graph asks. One SDK reads it as `payload`, another as `value`."""
    data = {"interrupt_id": asked["id"], "payload": asked["value"], "value": asked["value"]}
    return Frame(INPUT, namespace, data, id=f"input:{asked['id']}")


class _Everything(StreamTransformer):
    """Asks the graph for all that the protocol has, and keeps its tasks, which LangGraph's own transformers take out.

    It changes nothing, and comes first: why a task has failed is known before it is said that its subgraph has.
    """

    before_builtins = True
    required_stream_modes = ("values", "updates", "messages", "tools", "custom", "tasks", "checkpoints")

    def init(self) -> dict[str, Any]:
        """Return the channel whose items LangGraph streams as `custom:project4.tasks`."""
        self._tasks: StreamChannel[tuple[list[str], dict[str, Any]]] = StreamChannel(_TASKS)
        return {_TASKS: self._tasks}

    def process(self, event: ProtocolEvent) -> bool:
        """Look at an event; all of them pass the graph's own transformer, those of subgraphs too."""
        if event["method"] == "tasks" and not self.scope:
            self._tasks.push((event["params"]["namespace"], event["params"]["data"]))
        return True


class ProtocolEvents:
    """The frames of one attempt at a run.

    Args:
        run: As `claim_next` gives it.

    Attributes:
        values: The state after the last step, as the graph shows it; None if it has shown nothing.
    """

    def __init__(self, run: Row) -> None:
        self.values: Any = None
        self._run_id = run["run_id"]
        self._seq = int(run["updated_at"].timestamp() * 1000) * PER_MILLISECOND
        self._graph_id: str = run["kwargs"]["config"]["configurable"]["graph_id"]
        self._asked_in: dict[str, Sequence[str]] = {}
        self._errors: dict[str, str] = {}  # why tasks have failed
        self._graph_names: dict[tuple[str, ...], str] = {}
        self._with_checkpoints: set[tuple[str, ...]] = set()
        self._held: Frame | None = None

    async def of(
        self, graph: Pregel[Any, Any, Any, Any], input_: object, config: RunnableConfig, **options: Any
    ) -> AsyncGenerator[tuple[str, object]]:
        """Execute a graph, and give its frames with their names."""
        yield self._numbered(Frame(LIFECYCLE, (), {"event": "running", "graph_name": self._graph_id}))
        options |= {"output_keys": graph.output_channels}
        with suppress_langchain_beta_warning():
            stream = await graph.astream_events(input_, config, version="v3", transformers=[_Everything], **options)
        async with stream:
            events = aiter(stream)
            while True:
                step = asyncio.ensure_future(anext(events, None))
                try:
                    event = await asyncio.shield(step)
                except asyncio.CancelledError:
                    await stream.abort()  # it waits for the graph; to cancel the step would leave it to itself
                    with contextlib.suppress(Exception):
                        await step
                    raise
                if event is None:
                    break
                for frame in self._of_event(event):
                    for one in self._in_order(frame):
                        yield self._numbered(one)
        if self._held:
            yield self._numbered(self._held)

    def questions(self, interrupts: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[tuple[str, object]]:
        """Give the frames of the questions that wait for an answer.

        Args:
            interrupts: All questions, by task, as the thread has them.
        """
        for asked in (one for questions in interrupts.values() for one in questions):
            yield self._numbered(question(asked, self._asked_in.get(asked["id"], ())))

    def _numbered(self, frame: Frame) -> tuple[str, object]:
        self._seq += 1
        return frame.name(), frame.sent(self._run_id, self._seq)

    def _in_order(self, frame: Frame) -> Iterator[Frame]:
        """Put a checkpoint before its values: LangGraph gives it right after them, and clients read it before."""
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

    def _of_event(self, event: ProtocolEvent) -> Iterator[Frame]:
        params = event["params"]
        frame = Frame(event["method"], params["namespace"], params["data"], timestamp=params["timestamp"])
        interrupts: Sequence[Interrupt] = params.get("interrupts", ())
        for one in interrupts:  # the innermost graph says it first
            self._asked_in.setdefault(one.id, frame.namespace)
        makers: dict[str, Callable[[Frame], Iterator[Frame]]] = {
            "values": self._of_values,
            "updates": _of_updates,
            "messages": _of_message,
            "tools": _of_tool,
            LIFECYCLE: self._of_lifecycle,
            "checkpoints": _of_checkpoint,
            f"{_CUSTOM}:{_TASKS}": self._of_task,
        }
        return makers.get(frame.channel, _as_it_is)(frame)

    def _of_values(self, frame: Frame) -> Iterator[Frame]:
        if not frame.namespace:
            self.values = frame.data
        yield frame

    def _of_lifecycle(self, frame: Frame) -> Iterator[Frame]:
        data: dict[str, Any] = dict(cast("Mapping[str, Any]", frame.data))
        namespace: list[str] = data.pop("namespace")
        if data["event"] == "drained":  # it goes on elsewhere
            return
        node, _, task_id = namespace[-1].partition(":")
        data["graph_name"] = self._graph_names.setdefault(tuple(namespace), data.get("graph_name", node))
        if "error" in data:
            data["error"] = self._errors.get(task_id, _TASK_FAILED)
        yield frame._replace(namespace=namespace, data=data)

    def _of_task(self, frame: Frame) -> Iterator[Frame]:
        namespace, task = cast("tuple[list[str], dict[str, Any]]", frame.data)
        if isinstance(error := task.get("error"), BaseException):
            self._errors[task["id"]] = error_of(error)["message"]
            task = task | {"error": self._errors[task["id"]]}
        yield frame._replace(channel="tasks", namespace=namespace, data=task)


def _as_it_is(frame: Frame) -> Iterator[Frame]:
    if frame.channel.partition(":")[0] == _CUSTOM:
        yield frame


def _of_updates(frame: Frame) -> Iterator[Frame]:
    if _INTERRUPT not in cast("Mapping[str, Any]", frame.data):
        yield frame


def _of_message(frame: Frame) -> Iterator[Frame]:
    """Give the frames of a message: those of a model's as they come, those of a whole one at once."""
    message, metadata = cast("tuple[object, Mapping[str, Any]]", frame.data)
    frame = frame._replace(node=metadata.get("langgraph_node"))
    if isinstance(message, dict):
        yield frame._replace(data=message)
    elif isinstance(message, BaseMessage) and not isinstance(message, BaseMessageChunk | ToolMessage):
        for event in message_to_events(message, message_id=message.id):
            yield frame._replace(data=event)


def _of_tool(frame: Frame) -> Iterator[Frame]:
    """Give what a tool does; and what it has answered as a message too, in a namespace of its call."""
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


def _of_checkpoint(frame: Frame) -> Iterator[Frame]:
    """Give what the protocol tells of a checkpoint: enough to go back to it. The rest stands in the history."""
    payload = cast("Mapping[str, Any]", frame.data)
    parent = payload.get("parent_config")
    data = {
        "id": payload["config"]["configurable"]["checkpoint_id"],
        **({"parent_id": parent["configurable"]["checkpoint_id"]} if parent else {}),
        "step": payload["metadata"]["step"],
        "source": payload["metadata"]["source"],
    }
    yield frame._replace(data=data)
