"""Request and response bodies of threads, as LangGraph's API defines them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args
from uuid import UUID

from langgraph_sdk.schema import (
    OnConflictBehavior,
    PruneStrategy,
    ThreadSelectField,
    ThreadSortBy,
    ThreadStateSelectField,
)
from pydantic import BaseModel, Field, field_validator, model_validator

from project4_agent_api.core.schemas import (
    AnyJson,
    Checkpoint,
    CheckpointId,
    JsonObject,
    LangGraphBody,
    Metadata,
    Name,
    Search,
    SearchLimit,
)
from project4_agent_api.graphs.commands import CommandBody
from project4_agent_api.models import ThreadStatus

ThreadField = ThreadSelectField | Literal["state_updated_at", "error"]
# The type of the client is these names, or any text.
_STATE_FIELDS = frozenset(name for part in get_args(ThreadStateSelectField) for name in get_args(part))
_MAX_TTL_MINUTES = 60 * 24 * 366 * 100
_EXTRACT_PATTERN = r"^(values|metadata)(\.[^.\[\]\x00]+|\[-?\d{1,9}\])+$"
AnyUUID = Annotated[UUID, Field(strict=False)]


class Ttl(LangGraphBody):
    """A time to live, counted from a thread's last use."""

    ttl: Annotated[float, Field(gt=0, le=_MAX_TTL_MINUTES)] = Field(description="Minutes.")
    strategy: PruneStrategy = Field(
        default="delete", description="What to delete then: the thread, or all its checkpoints but the newest."
    )


class StateUpdate(LangGraphBody):
    """An update of a state, as if a node had written it."""

    values: JsonObject | list[AnyJson] | None = None
    command: CommandBody | None = None
    as_node: Name


class Superstep(LangGraphBody):
    """The updates of one step."""

    updates: Annotated[list[StateUpdate], Field(min_length=1, max_length=1000)]


class ThreadCreate(LangGraphBody):
    """A new thread."""

    thread_id: AnyUUID | None = Field(default=None, description="An id of your choice. Default: a new one.")
    metadata: Metadata | None = None
    if_exists: OnConflictBehavior | None = Field(
        default=None,
        description="If the id is taken: `raise` (default) answers 409, `do_nothing` returns the existing one.",
    )
    ttl: Ttl | None = None
    supersteps: Annotated[list[Superstep], Field(max_length=1000)] | None = Field(
        default=None, description="An initial history, for the graph that `metadata.graph_id` names."
    )

    @model_validator(mode="after")
    def _require_graph_of_history(self) -> Self:
        if self.supersteps and not isinstance((self.metadata or {}).get("graph_id"), str):
            raise ValueError("`supersteps` need `metadata.graph_id`")
        return self


class ThreadPatch(LangGraphBody):
    """Changes to a thread."""

    metadata: Metadata | None = Field(default=None, description="Merged into the metadata, key by key.")
    ttl: Ttl | None = None


class ThreadFilter(LangGraphBody):
    """A filter of threads."""

    metadata: JsonObject | None = Field(default=None, description="Key-value pairs that the metadata must contain.")
    values: JsonObject | None = Field(default=None, description="Key-value pairs that the state must contain.")
    status: ThreadStatus | None = Field(default=None, strict=False)


class ThreadSearch(Search, ThreadFilter):
    """A search for threads."""

    ids: Annotated[list[AnyUUID], Field(max_length=1000)] | None = None
    sort_by: ThreadSortBy | None = None
    select: Annotated[list[ThreadField], Field(max_length=20)] | None = None
    extract: dict[Name, Annotated[str, Field(max_length=500, pattern=_EXTRACT_PATTERN)]] | None = Field(
        default=None,
        max_length=10,
        description="Parts of `values` or `metadata` to return under names of your choice, such as "
        '{"first": "values.messages[0].content"}.',
    )


class ThreadsPrune(LangGraphBody):
    """Threads to delete, or whose history to delete."""

    thread_ids: Annotated[list[AnyUUID], Field(max_length=1000)]
    strategy: PruneStrategy | None = None


class Pruned(BaseModel):
    """The number of pruned threads."""

    pruned_count: int


class TtlRead(BaseModel):
    """A thread's time to live."""

    strategy: PruneStrategy
    ttl_minutes: float
    expires_at: datetime


class ThreadRead(BaseModel):
    """A thread."""

    thread_id: UUID
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime
    metadata: dict[str, Any]
    config: dict[str, Any]
    status: ThreadStatus
    values: Any = Field(description="The newest state, an object for most graphs; null before the first run.")
    interrupts: dict[str, Any] = Field(description="Interrupts that wait for an answer, by task.")
    error: dict[str, Any] | None
    ttl: TtlRead | None = Field(default=None, description="With `include=ttl`.")
    extracted: dict[str, Any] | None = Field(default=None, description="With `extract`.")


def validate_state_fields(select: list[str] | None) -> list[str] | None:
    """Check the selected parts of a state.

    Raises:
        ValueError: if one of them does not exist.
    """
    for name in select or ():
        if name not in _STATE_FIELDS and not name.startswith("values."):
            raise ValueError(f"{name[:50]} is not a part of a state")
    return select


class StateAtCheckpoint(LangGraphBody):
    """A checkpoint of a thread."""

    checkpoint: Checkpoint
    subgraphs: bool | None = None
    select: list[Annotated[str, Field(max_length=200)]] | None = None

    _validate_select = field_validator("select")(validate_state_fields)


class StateChange(LangGraphBody):
    """An update of a thread's state."""

    values: JsonObject | list[AnyJson] | None = None
    as_node: Name | None = Field(default=None, description="The node that the update is attributed to.")
    checkpoint: Checkpoint | None = Field(default=None, description="Where to continue from. Default: the newest.")
    checkpoint_id: CheckpointId | None = None


class HistoryQuery(LangGraphBody):
    """A page of a thread's states."""

    limit: SearchLimit | None = Field(default=None, description="Maximum number of states. Default: 10.")
    before: CheckpointId | Checkpoint | None = Field(
        default=None, description="Return only states before this checkpoint."
    )
    metadata: JsonObject | None = Field(
        default=None, description="Key-value pairs that the states' metadata must contain."
    )
    checkpoint: Checkpoint | None = Field(
        default=None, description="Return only this checkpoint, or only those of its subgraph."
    )
    select: list[Annotated[str, Field(max_length=200)]] | None = None

    _validate_select = field_validator("select")(validate_state_fields)


class ThreadState(BaseModel):
    """A thread's state at a checkpoint."""

    values: Any
    next: list[str] = Field(description="The nodes to execute next; empty at the end of the graph.")
    tasks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    created_at: str | None
    checkpoint: dict[str, Any] | None
    parent_checkpoint: dict[str, Any] | None
    interrupts: list[dict[str, Any]]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None


class StateChanged(BaseModel):
    """The checkpoint that an update created."""

    checkpoint: dict[str, Any]
    configurable: dict[str, Any]
    checkpoint_id: str
