"""The events of the stream modes `tools` and `lifecycle`, in the form of LangGraph's clients.

LangGraph streams tool calls in another form, and no lifecycles of subgraphs outside its streaming protocol: a subgraph
starts with its first task, and ends with the task of the outer graph that calls it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from project4_agent_api.core.serialization import public_error

Namespace = tuple[str, ...]


class ToolEvents:
    """Converts the events of tool calls. LangGraph names a tool only when its call starts."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def convert(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the event of a tool call."""
        call = event["tool_call_id"]
        name = self._names.setdefault(call, event.get("tool_name") or "")
        common = {"toolCallId": call, "name": name}
        match event["event"]:
            case "tool-started":
                return {"event": "on_tool_start", **common, "input": event.get("input")}
            case "tool-output-delta":
                return {"event": "on_tool_event", **common, "data": event["delta"]}
            case "tool-error":
                return {"event": "on_tool_error", **common, "error": event["message"]}
            case _:
                return {"event": "on_tool_end", **common, "output": event.get("output")}


class SubgraphEvents:
    """Finds the starts and ends of subgraphs in the events of tasks."""

    def __init__(self) -> None:
        self._seen: set[Namespace] = set()
        self._open: dict[Namespace, str] = {}  # the task that calls it
        self._tool_calls: dict[str, str] = {}  # by the task that executes it

    def of_task(self, namespace: Namespace, task: Mapping[str, Any]) -> Iterator[tuple[Namespace, dict[str, Any]]]:
        """Yield the events of subgraphs that a task's start or end implies, with their namespaces."""
        if "result" in task:
            for inner in [inner for inner, caller in self._open.items() if caller == task["id"]]:
                yield self._end(inner, _outcome(task))
            return
        call = task["input"].get("tool_call") if isinstance(task.get("input"), Mapping) else None
        if isinstance(call, Mapping) and call.get("id"):
            self._tool_calls[task["id"]] = call["id"]
        if namespace and namespace not in self._seen:
            self._seen.add(namespace)
            caller = namespace[-1].rpartition(":")[2]
            self._open[namespace] = caller
            tool_call = {"tool_call_id": self._tool_calls[caller]} if caller in self._tool_calls else {}
            yield namespace, {"event": "started", "namespace": list(namespace), **tool_call}

    def of_end(self, error: BaseException | None) -> Iterator[tuple[Namespace, dict[str, Any]]]:
        """Yield the ends of the subgraphs that are open when the graph ends."""
        outcome = {"event": "failed", "error": public_error(error)} if error else {"event": "completed"}
        for namespace in sorted(self._open, key=len, reverse=True):
            yield self._end(namespace, outcome)

    def _end(self, namespace: Namespace, outcome: dict[str, Any]) -> tuple[Namespace, dict[str, Any]]:
        caller = self._open.pop(namespace)
        tool_call = {"tool_call_id": self._tool_calls[caller]} if caller in self._tool_calls else {}
        return namespace, {"namespace": list(namespace), **tool_call, **outcome}


def _outcome(task: Mapping[str, Any]) -> dict[str, Any]:
    interrupts: Sequence[Any] = task.get("interrupts") or ()
    error = task.get("error")
    if interrupts:
        return {"event": "interrupted"}
    if isinstance(error, BaseException):
        return {"event": "failed", "error": public_error(error)}
    if error:
        return {"event": "failed", "error": {"error": "Error", "message": str(error)}}
    return {"event": "completed"}
