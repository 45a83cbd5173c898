"""Threads on the wire: LangGraph's own forms."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, field_validator, model_validator

from project4_agent_api.core.schemas import AnyJson, JsonObject, Metadata, Name, Search, SearchLimit
from project4_agent_api.models import ThreadStatus
from project4_agent_api.runs.schemas import Checkpoint, CheckpointId, CommandBody
from shared.schemas import RequestBody

ThreadField = Literal[
    "thread_id",
    "created_at",
    "updated_at",
    "state_updated_at",
    "metadata",
    "config",
    "context",
    "status",
    "values",
    "interrupts",
    "error",
]
_STATE_FIELDS = frozenset(
    {"values", "next", "tasks", "checkpoint", "metadata", "created_at", "parent_checkpoint", "interrupts"}
)
_MINUTES = 60 * 24 * 366 * 100
_EXTRACT = r"^(values|metadata)(\.[^.\[\]\x00]+|\[-?\d{1,9}\])+$"
AnyUUID = Annotated[UUID, Field(strict=False)]


class Ttl(RequestBody):
    """How long a thread is kept after it was last used."""

    ttl: Annotated[float, Field(gt=0, le=_MINUTES)] = Field(description="In minutes.")
    strategy: Literal["delete", "keep_latest"] = Field(
        default="delete", description="Then: delete the thread, or all of its checkpoints but the newest."
    )


class StateUpdate(RequestBody):
    """What a node is said to have written."""

    values: JsonObject | list[AnyJson] | None = None
    command: CommandBody | None = None
    as_node: Name


class Superstep(RequestBody):
    """What the nodes of one step are said to have written."""

    updates: Annotated[list[StateUpdate], Field(min_length=1, max_length=1000)]


class ThreadCreate(RequestBody):
    """A thread to be made."""

    thread_id: AnyUUID | None = Field(default=None, description="One of your choice.")
    metadata: Metadata | None = None
    if_exists: Literal["raise", "do_nothing"] | None = Field(
        default=None, description="With an id that is taken: 409 if not given, or the thread that is there."
    )
    ttl: Ttl | None = None
    supersteps: Annotated[list[Superstep], Field(max_length=1000)] | None = Field(
        default=None, description="A history to begin with, for the graph that `metadata.graph_id` names."
    )

    @model_validator(mode="after")
    def _a_history_is_of_a_graph(self) -> Self:
        if self.supersteps and not isinstance((self.metadata or {}).get("graph_id"), str):
            raise ValueError("`supersteps` need `metadata.graph_id`")
        return self


class ThreadPatch(RequestBody):
    """What is to change of a thread."""

    metadata: Metadata | None = Field(default=None, description="Merged into what is there.")
    ttl: Ttl | None = None


class ThreadFilter(RequestBody):
    """Which threads."""

    metadata: JsonObject | None = Field(default=None, description="What its metadata must contain.")
    values: JsonObject | None = Field(default=None, description="What its state must contain.")
    status: ThreadStatus | None = Field(default=None, strict=False)


class ThreadSearch(Search, ThreadFilter):
    """Which threads, in which order, how many, and what of them."""

    ids: Annotated[list[AnyUUID], Field(max_length=1000)] | None = None
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] | None = None
    select: Annotated[list[ThreadField], Field(max_length=20)] | None = None
    extract: dict[Name, Annotated[str, Field(max_length=500, pattern=_EXTRACT)]] | None = Field(
        default=None,
        max_length=10,
        description="Parts of `values` or `metadata` to be shown under names of your choice, such as "
        '{"first": "values.messages[0].content"}.',
    )


class ThreadsPrune(RequestBody):
    """Threads to be deleted, or to lose their history."""

    thread_ids: Annotated[list[AnyUUID], Field(max_length=1000)]
    strategy: Literal["delete", "keep_latest"] | None = None


class Pruned(BaseModel):
    """How many threads that was."""

    pruned_count: int


class TtlRead(BaseModel):
    """How long a thread is kept."""

    strategy: Literal["delete", "keep_latest"]
    ttl_minutes: float
    expires_at: datetime


class ThreadRead(BaseModel):
    """A thread, as shown."""

    thread_id: UUID
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime
    metadata: dict[str, Any]
    config: dict[str, Any]
    status: ThreadStatus
    values: Any = Field(description="Its state, an object for most graphs; null before the first run.")
    interrupts: dict[str, Any] = Field(description="The questions that wait for an answer, by the task that asks.")
    error: dict[str, Any] | None
    ttl: TtlRead | None = Field(default=None, description="With `include=ttl`.")
    extracted: dict[str, Any] | None = Field(default=None, description="With `extract`.")


def known_state_fields(select: list[str] | None) -> list[str] | None:
    """Check which parts of a state are wanted.

    Raises:
        ValueError: if one of them is none.
    """
    for name in select or ():
        if name not in _STATE_FIELDS and not name.startswith("values."):
            raise ValueError(f"{name[:50]} is no part of a state")
    return select


class StateAtCheckpoint(RequestBody):
    """Which state of a thread."""

    checkpoint: Checkpoint
    subgraphs: bool | None = None
    select: list[Annotated[str, Field(max_length=200)]] | None = None

    _known = field_validator("select")(known_state_fields)


class StateChange(RequestBody):
    """What is to be written into a thread's state."""

    values: JsonObject | list[AnyJson] | None = None
    as_node: Name | None = Field(default=None, description="As if this node had written it.")
    checkpoint: Checkpoint | None = Field(default=None, description="From where in its history to go on.")
    checkpoint_id: CheckpointId | None = None


class HistoryQuery(RequestBody):
    """Which states of a thread."""

    limit: SearchLimit | None = Field(default=None, description="At most so many; 10 where it is not given.")
    before: CheckpointId | Checkpoint | None = Field(default=None, description="Only those before this one.")
    metadata: JsonObject | None = Field(default=None, description="What their metadata must contain.")
    checkpoint: Checkpoint | None = Field(default=None, description="Only this one, or those of this subgraph.")
    select: list[Annotated[str, Field(max_length=200)]] | None = None

    _known = field_validator("select")(known_state_fields)


class ThreadState(BaseModel):
    """A thread's state at a checkpoint."""

    values: Any
    next: list[str] = Field(description="The nodes that come next; none where the graph is at its end.")
    tasks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    created_at: str | None
    checkpoint: dict[str, Any] | None
    parent_checkpoint: dict[str, Any] | None
    interrupts: list[dict[str, Any]]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None


class StateChanged(BaseModel):
    """Where the change stands."""

    checkpoint: dict[str, Any]
    configurable: dict[str, Any]
    checkpoint_id: str
