"""The values that carry a run from its route through the database to the worker that executes it."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote
from uuid import UUID

from project4_agent_api.core.postgres import Row


@dataclass(frozen=True, slots=True)
class RunKey:
    """The identity of a run: a run is only ever found together with its owner and its thread."""

    owner_id: UUID
    thread_id: UUID
    run_id: UUID


class StopReason(StrEnum):
    """Why an execution stops before its graph has finished.

    Clients request `INTERRUPT`, which keeps the run's checkpoints, and `ROLLBACK`, which deletes them. With `DRAIN` the
    worker shuts down, and another one continues the run. `LOST` means that another worker has the claim, and
    `DATABASE_UNAVAILABLE` that checkpoints could not be written: the run continues when the database has recovered.
    """

    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"
    DRAIN = "drain"
    LOST = "lost"
    DATABASE_UNAVAILABLE = "away"


@dataclass(frozen=True, slots=True)
class RunSpec:
    """How a graph is executed: the column `runs.kwargs`, which clients see as `kwargs`.

    Attributes:
        command: Replaces the input; see `graphs/commands.py`.
        config: LangGraph's configuration; its `configurable` names the graph, the thread and the run.
        stream_mode: The kinds of events that are published.
        subgraphs: Whether the events of subgraphs are published.
        protocol: Whether the events are frames of the streaming protocol.
        interrupt_before: Nodes before which the graph stops, or `*`.
        interrupt_after: Nodes after which it stops, or `*`.
        durability: When checkpoints are stored: `sync`, `async` or `exit`.
        webhook: The address that is called when the run has ended.
        temporary: Whether the thread was created for this run and is deleted with it.
        feedback_keys: The aspects that the client rates; see `feedback.py`.
    """

    input: Any = None
    command: dict[str, Any] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    stream_mode: list[str] = field(default_factory=lambda: ["values"])
    subgraphs: bool = False
    protocol: bool = False
    interrupt_before: str | list[str] | None = None
    interrupt_after: str | list[str] | None = None
    durability: str = "async"
    webhook: str | None = None
    temporary: bool = False
    feedback_keys: list[str] | None = None

    @property
    def graph_id(self) -> str:
        """The name of the graph."""
        name: str = self.config["configurable"]["graph_id"]
        return name

    def feedback_urls(self, run_id: UUID) -> dict[str, str]:
        """Return the addresses at which the owner of the run rates it, by key."""
        return {key: f"/feedback?run={run_id}&key={quote(key, safe='')}" for key in self.feedback_keys or ()}

    def to_json(self) -> dict[str, Any]:
        """Return the stored form: the fields, and those that LangGraph's server adds."""
        stored = {name: getattr(self, name) for name in _FIELDS}
        return stored | {
            "resumable": True,
            "checkpoint_during": self.durability != "exit",
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "RunSpec":
        """Read the stored form, which an earlier version of the service may have written."""
        return cls(**{name: stored[name] for name in _FIELDS if name in stored})


_FIELDS = [field.name for field in fields(RunSpec)]


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that a worker has claimed.

    Attributes:
        claim: The token of this claim: a statement with an older one changes nothing.
        request_id: The id of the request that created it.
        attempt: The number of this claim, from 1.
        claimed_at: The time of this claim, by the database's clock.
        stop_reason: `INTERRUPT` or `ROLLBACK` if that was requested before.
        seconds_queued: Seconds between its due time and this claim.
        more_due: Whether other runs of the owner are due.
    """

    key: RunKey
    claim: UUID
    spec: RunSpec
    metadata: dict[str, Any]
    request_id: str | None
    traceparent: str | None
    attempt: int
    claimed_at: datetime
    stop_reason: StopReason | None
    seconds_queued: float
    more_due: bool
    has_state: bool

    @classmethod
    def from_row(cls, row: Row) -> "ClaimedRun":
        """Read a row of `claims.claim_next`."""
        key = RunKey(row.pop("owner_id"), row.pop("thread_id"), row.pop("run_id"))
        spec, action = RunSpec.from_json(row.pop("kwargs")), row.pop("cancel")
        return cls(key=key, spec=spec, stop_reason=StopReason(action) if action else None, **row)
