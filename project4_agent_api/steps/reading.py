"""Steps of a run from rows of checkpoints and of what their nodes wrote."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.checkpoint.serde.base import SerializerProtocol
from loguru import logger

from project4_agent_api.core.model_usage import Prices, model_name, usage_of
from project4_agent_api.core.postgres import Row
from project4_agent_api.models import RunStatus
from project4_agent_api.runs.service import UNFINISHED
from project4_agent_api.steps.schemas import (
    Step,
    StepDetails,
    StepStatus,
    StepTask,
    StepWrite,
    TaskDetails,
)
from project4_agent_api.steps.values import UNREADABLE, Budget, Stored, changes_of, messages_of

_PROMPT_MESSAGES = 20  # the last ones of a state
_DETAIL_SIZE = 400_000  # characters of a step's details
_TASKS, _ERROR, _INTERRUPT, _RESUME = "__pregel_tasks", "__error__", "__interrupt__", "__resume__"
_BRANCH = "branch:to:"
_PULLED = "~__pregel_pull, "
_PUSHED = re.compile(r"~__pregel_push, (\d{10})(?!\d)")
# The start of a `Send` as LangGraph stores it, up to the name of its node, which is a text of MessagePack.
_SEND = re.compile(rb"\xa4Send\x92([\xa0-\xbf]|\xd9.)", re.DOTALL)


def is_visible(channel: str) -> bool:
    """Return whether a channel is a part of the state, and not one by which LangGraph controls its nodes."""
    return not channel.startswith((_BRANCH, "__"))


@dataclass(frozen=True)
class StepReader:
    """Reads the steps of runs. It needs no graph, so that a graph that was changed or removed has a history too."""

    serializer: SerializerProtocol
    prices: Prices

    def messages(self, writes: Iterable[Row]) -> list[BaseMessage]:
        """Return the messages in what nodes wrote."""
        return [message for write in writes for message in messages_of(self._load(write))]

    def steps(self, run: Row, rows: Sequence[Row], writes: Sequence[Row]) -> list[Step]:
        """Return steps, from their rows and what the nodes of them and of the steps before wrote."""
        by_step: dict[tuple[str, str | None], list[Row]] = defaultdict(list)
        for write in writes:
            by_step[write["checkpoint_ns"], write["checkpoint_id"]].append(write)
        return [self._step(run, row, by_step) for row in rows]

    def _step(self, run: Row, row: Row, writes: Mapping[tuple[str, str | None], Sequence[Row]]) -> Step:
        namespace = row["checkpoint_ns"]
        own = writes.get((namespace, row["checkpoint_id"]), ())
        tasks = _tasks(own, self._sent_nodes(writes.get((namespace, row["parent_checkpoint_id"]), ())))
        messages = self.messages(write for write in own if write["blob"] is not None and write["channel"] != _TASKS)
        answers = [message for message in messages if isinstance(message, AIMessage)]
        usage = usage_of(answers)
        status = _status(row, tasks, run["status"])
        written = {task.name for task in tasks if not task.failed}
        return Step(
            checkpoint_id=row["checkpoint_id"],
            namespace=namespace,
            step=row["step"],
            source=row["source"],
            attempt=row["ended_attempt"] or row["attempt"],
            own=row["own"],
            parent_checkpoint_id=row["parent_checkpoint_id"],
            started_at=row["ts"],
            ended_at=row["ended"],
            status=status,
            tasks=tasks,
            writes_omitted=max((write["total"] - len(own) for write in own[:1]), default=0),
            next=[] if status == "done" else [name for name in _due_nodes(row) if name not in written],
            tokens=usage.tokens if usage else None,
            cost=self.prices.cost(usage) if usage else None,
            model=next(filter(None, map(model_name, answers)), None),
            calls=[call["name"] for answer in answers for call in answer.tool_calls],
            tools=[message.name or "" for message in messages if isinstance(message, ToolMessage)],
            continued_by=row["continued_by"],
        )

    def details(
        self,
        step: Row,
        written: Sequence[Row],
        sent: Sequence[Row],
        states: Mapping[str, Row],
        stored: Mapping[tuple[str, str], Row],
    ) -> StepDetails:
        """Return a step in detail.

        Args:
            step: Row of the step.
            written: Writes of its nodes.
            sent: Writes of the nodes of the step before.
            states: The channels of the states before and after it, by checkpoint.
            stored: The values of their channels, by channel and version.
        """
        budget = Budget(_DETAIL_SIZE)
        before = self._state(states.get(step["checkpoint_id"]), stored)
        after = self._state(states.get(step["ended_id"]), stored)
        prompt = next((found for value in before.values() if (found := messages_of(value.value))), None)
        return StepDetails(
            checkpoint_id=step["checkpoint_id"],
            namespace=step["checkpoint_ns"],
            messages=[budget.fit(message) for message in (prompt or [])[-_PROMPT_MESSAGES:]],
            messages_total=None if prompt is None else len(prompt),
            tasks=[self._task(task, written, budget) for task in _tasks(written, self._sent_nodes(sent))],
            changes=changes_of(before, after, budget) if after else [],
            cut=budget.cut or any(write["total"] > len(written) for write in written[:1]),
        )

    def _task(self, task: StepTask, written: Sequence[Row], budget: Budget) -> TaskDetails:
        own = [write for write in written if write["task_id"] == task.id]
        return TaskDetails(
            **task.model_dump(),
            written=[self._write(write, budget) for write in own if is_visible(write["channel"])],
            questions=self._special(own, _INTERRUPT, budget),
            answers=self._special(own, _RESUME, budget),
        )

    def _special(self, writes: Sequence[Row], channel: str, budget: Budget) -> list[Any]:
        """Return the questions of a task, or the answers to them."""
        values = [self._load(write) for write in writes if write["channel"] == channel]
        items = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
        return [budget.fit(getattr(item, "value", item)) for item in items if item is not UNREADABLE]

    def _write(self, write: Row, budget: Budget) -> StepWrite:
        value = self._load(write)
        return StepWrite(
            channel=write["channel"],
            value=None if value is UNREADABLE else budget.fit(value),
            bytes=write["bytes"] or 0,
            cut=value is UNREADABLE,
        )

    def _state(self, state: Row | None, stored: Mapping[tuple[str, str], Row]) -> dict[str, Stored]:
        """Return the values of a state's channels."""
        values = {}
        for channel, version in (state["versions"] if state else {}).items():
            if not is_visible(channel):
                continue
            row = stored.get((channel, version))
            if row is not None:
                values[channel] = Stored(version, self._load(row), row["bytes"] or 0)
            else:
                values[channel] = Stored(version, state["inline"].get(channel) if state else None, 0)
        return values

    def _sent_nodes(self, writes: Sequence[Row]) -> list[str]:
        """Return the nodes to which a step sent messages, in the order of the tasks that this makes."""
        return [self._sent_node(write) for write in writes if write["channel"] == _TASKS]

    def _sent_node(self, write: Row) -> str:
        if "+" in write["type"]:  # encrypted, so it was read whole
            return str(getattr(self._load(write), "node", ""))
        found = _SEND.search(bytes(write["blob"] or b""))
        if found is None:
            return ""
        length = found[1][0] & 0x1F if len(found[1]) == 1 else found[1][1]
        return bytes(write["blob"])[found.end() : found.end() + length].decode(errors="replace")

    def _load(self, stored: Row) -> Any:  # noqa: ANN401  a value of any state
        """Return a stored value; `UNREADABLE` if it is too large, or its class is gone."""
        if stored["type"] in ("empty", "null"):
            return None
        if stored["blob"] is None:
            return UNREADABLE
        try:
            return self.serializer.loads_typed((stored["type"], bytes(stored["blob"])))
        except Exception as error:  # noqa: BLE001  of a project's own classes
            logger.debug("a stored value cannot be read: {}", type(error).__name__)
            return UNREADABLE


def _tasks(writes: Sequence[Row], sent_nodes: Sequence[str]) -> list[StepTask]:
    """Return the nodes that wrote something. LangGraph itself writes answers to questions, without a path."""
    by_task: dict[str, list[Row]] = defaultdict(list)
    for write in writes:
        if write["task_path"]:
            by_task[write["task_id"]].append(write)
    tasks = []
    for task_id, own in by_task.items():
        channels = [write["channel"] for write in own]
        tasks.append(
            StepTask(
                id=task_id,
                name=_node(own[0]["task_path"], sent_nodes),
                failed=_ERROR in channels,
                asked=_INTERRUPT in channels,
                answered=_RESUME in channels,
                writes=[channel for channel in dict.fromkeys(channels) if is_visible(channel)],
            )
        )
    return tasks


def _node(path: str, sent_nodes: Sequence[str]) -> str | None:
    """Return the name of a task's node, from the task's path as LangGraph stores it."""
    if path.startswith(_PULLED):
        return path.removeprefix(_PULLED).partition(", ~")[0]
    pushed = _PUSHED.match(path)
    place = int(pushed[1]) if pushed else len(sent_nodes)
    return (sent_nodes[place] if place < len(sent_nodes) else "") or None


def _updated(row: Row) -> list[str]:
    """Return the channels that were written before a step. LangGraph's older versions did not store them."""
    return row["updated"] or []


def _due_nodes(row: Row) -> list[str]:
    return [channel.removeprefix(_BRANCH) for channel in _updated(row) if channel.startswith(_BRANCH)]


def _status(row: Row, tasks: Sequence[StepTask], run_status: str) -> StepStatus:
    if row["ended_id"] is not None:
        return "done"
    if any(task.asked for task in tasks):
        return "waiting"
    if any(task.failed for task in tasks):
        return "stopped" if run_status == RunStatus.INTERRUPTED else "failed"
    is_last = run_status not in UNFINISHED and not tasks and not _due_nodes(row) and _TASKS not in _updated(row)
    return "end" if is_last else "open"
