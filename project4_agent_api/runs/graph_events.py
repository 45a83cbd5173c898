"""The events of a run in the form that LangGraph's clients expect.

Names and data are those of LangGraph's own server: `values`, `updates`, `custom`, `tasks`, `checkpoints`, `debug` and
`events` as the graph streams them; `tools` and `lifecycle` as in `mode_events.py`; `messages` with each message so far
(`messages/partial`) or complete (`messages/complete`); `messages-tuple` as an event `messages` with a chunk and its
metadata. The name of a subgraph's event ends with its namespace: `values|agent:1`.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from langchain_core.messages import BaseMessage, BaseMessageChunk, convert_to_messages, message_chunk_to_message
from langchain_core.runnables import RunnableConfig

from project4_agent_api.graphs.registry import Graph
from project4_agent_api.runs.mode_events import SubgraphEvents, ToolEvents
from project4_agent_api.runs.spec import ClaimedRun
from project4_agent_api.threads.snapshots import to_checkpoint

_HIDDEN = "langsmith:hidden"
_NATIVE_MODES = {"values", "updates", "messages", "custom", "tasks", "checkpoints", "debug", "tools"}


class GraphEvents:
    """The encoder of a run's events in their default form; see `execution.EventEncoder`."""

    def __init__(self, run: ClaimedRun) -> None:
        self.values: Any = None
        self._modes = set(run.spec.stream_mode)
        self._subgraphs = run.spec.subgraphs
        self._messages: dict[str | None, BaseMessage] = {}
        self._tools = ToolEvents()
        self._lifecycles = SubgraphEvents() if "lifecycle" in self._modes else None

    async def stream(
        self, graph: Graph, input_: object, config: RunnableConfig, **options: Any
    ) -> AsyncGenerator[tuple[str, object]]:
        """Execute a graph, and yield the name and the data of each event."""
        native = (self._modes & _NATIVE_MODES) | {"values"}
        native |= {"messages"} if "messages-tuple" in self._modes else set()
        native |= {"tasks"} if self._lifecycles else set()
        options |= {
            "stream_mode": sorted(native),
            "output_keys": graph.output_channels,
            "subgraphs": self._with_namespaces,
        }
        stream = self._stream_with_events if "events" in self._modes else self._stream
        try:
            async with aclosing(stream(graph, input_, config, options)) as events:
                async for event in events:
                    yield event
        except Exception as error:
            for event in self._end_lifecycles(error):
                yield event
            raise
        for event in self._end_lifecycles(None):
            yield event

    def questions(self, interrupts: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterable[tuple[str, object]]:
        """Return no events: the graph streamed the questions as `updates` or `values`."""
        del interrupts
        return ()

    @property
    def _with_namespaces(self) -> bool:
        return self._subgraphs or self._lifecycles is not None

    def _end_lifecycles(self, error: Exception | None) -> Iterator[tuple[str, object]]:
        for namespace, data in self._lifecycles.of_end(error) if self._lifecycles else ():
            yield _name("lifecycle", namespace), data

    async def _stream(
        self, graph: Graph, input_: object, config: RunnableConfig, options: dict[str, Any]
    ) -> AsyncGenerator[tuple[str, object]]:
        stream = cast("AsyncGenerator[Any]", graph.astream(cast("Any", input_), config, **options))
        async with aclosing(stream):
            async for chunk in stream:
                for event in self._encode(chunk):
                    yield event

    async def _stream_with_events(
        self, graph: Graph, input_: object, config: RunnableConfig, options: dict[str, Any]
    ) -> AsyncGenerator[tuple[str, object]]:
        """Yield LangChain's events of everything that the graph calls, together with what the graph itself streams."""
        run_id: str | None = None
        stream = cast("AsyncGenerator[Any]", graph.astream_events(cast("Any", input_), config, version="v2", **options))
        async with aclosing(stream):
            async for event in stream:
                if _HIDDEN in event.get("tags", ()):
                    continue
                run_id = run_id or event["run_id"]  # the first event is the graph's own
                if event["event"] == "on_chain_stream" and event["run_id"] == run_id:
                    for own in self._encode(event["data"]["chunk"]):
                        yield own
                else:
                    yield "events", event

    def _encode(self, chunk: tuple[Any, ...]) -> list[tuple[str, object]]:
        namespace, mode, data = chunk if self._with_namespaces else ((), *chunk)
        lifecycles = self._lifecycles.of_task(namespace, data) if self._lifecycles and mode == "tasks" else ()
        found: list[tuple[str, object]] = [(_name("lifecycle", inner), event) for inner, event in lifecycles]
        if namespace and not self._subgraphs:
            return found
        return found + self._encode_mode(namespace, mode, data)

    def _encode_mode(self, namespace: Sequence[str], mode: str, data: Any) -> list[tuple[str, object]]:  # noqa: ANN401  any JSON
        if mode == "messages":
            if "messages-tuple" in self._modes:
                return [(_name("messages", namespace), data)]
            return self._encode_message(*data)
        if mode == "tools":
            data = self._tools.convert(data)
        if mode == "values" and not namespace:
            self.values = data
        if mode == "debug" and data["type"] == "checkpoint":
            data = data | {"payload": _with_checkpoints(data["payload"])}
        if mode == "checkpoints":
            data = _with_checkpoints(data)
        interrupted = mode == "values" and isinstance(data, dict) and "__interrupt__" in data
        if mode in self._modes or (interrupted and "updates" not in self._modes):
            return [(_name(mode, namespace), data)]
        return []

    def _encode_message(
        self, streamed: BaseMessage | dict[str, Any], metadata: dict[str, Any]
    ) -> list[tuple[str, object]]:
        message = streamed if isinstance(streamed, BaseMessage) else convert_to_messages([streamed])[0]
        events: list[tuple[str, object]] = []
        so_far = self._messages.get(message.id)
        if so_far is None:
            events.append(("messages/metadata", {message.id: {"metadata": metadata}}))
        if isinstance(so_far, BaseMessageChunk) and isinstance(message, BaseMessageChunk):
            message = cast("BaseMessage", so_far + message)
        self._messages[message.id] = message
        if isinstance(message, BaseMessageChunk):
            events.append(("messages/partial", [message_chunk_to_message(message)]))
        else:
            events.append(("messages/complete", [message]))
        return events


def _name(mode: str, namespace: Sequence[str]) -> str:
    return "|".join([mode, *namespace])


def _with_checkpoints(payload: dict[str, Any]) -> dict[str, Any]:
    """Add the checkpoints in the form that clients know to the configurations in LangGraph's form."""
    tasks = []
    for task in payload["tasks"]:
        state = task.get("state")
        if isinstance(state, dict) and state.get("configurable"):
            without = {key: value for key, value in task.items() if key != "state"}
            tasks.append(without | {"checkpoint": state["configurable"]})
        else:
            tasks.append(task)
    return payload | {
        "checkpoint": to_checkpoint(payload["config"]),
        "parent_checkpoint": to_checkpoint(payload.get("parent_config")),
        "tasks": tasks,
    }
