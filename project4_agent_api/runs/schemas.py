"""Request and response bodies of runs, in LangGraph's form."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from langgraph_sdk.schema import (
    BulkCancelRunsStatus,
    Durability,
    IfNotExists,
    MultitaskStrategy,
    OnCompletionBehavior,
    StreamMode,
)
from pydantic import BaseModel, Field, model_validator

from project4_agent_api.core.schemas import (
    AnyJson,
    Checkpoint,
    CheckpointId,
    Context,
    LangGraphBody,
    Metadata,
    Name,
    RunConfig,
    Webhook,
)
from project4_agent_api.graphs.commands import CommandBody
from project4_agent_api.models import RunStatus
from shared.schemas import INTEGRAL, WITHOUT_NUL

AssistantName = Annotated[str, Field(min_length=1, max_length=200, description="An assistant's id, or a graph's name.")]
_YEAR = 366 * 24 * 3600
FeedbackKey = Annotated[
    str, Field(min_length=1, max_length=200, description="The rated aspect, such as `helpful`."), WITHOUT_NUL
]
Nodes = Literal["*"] | Annotated[list[Name], Field(max_length=1000)]


class RunOptions(LangGraphBody):
    """How a graph is executed: the fields that runs and crons have in common."""

    input: AnyJson = None
    config: RunConfig | None = None
    context: Context | None = None
    metadata: Metadata | None = None
    interrupt_before: Nodes | None = None
    interrupt_after: Nodes | None = None
    webhook: Webhook | None = Field(default=None, description="Called when the run has ended.")
    stream_mode: StreamMode | Annotated[list[StreamMode], Field(max_length=20)] | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = Field(default=None, description="Accepted; every stream can be resumed.")
    durability: Durability | None = Field(default=None, description="When checkpoints are stored; default `async`.")
    checkpoint_during: bool | None = Field(default=None, description="The older form of `durability`.")

    @model_validator(mode="after")
    def _one_of_config_and_context(self) -> Self:
        if self.context and self.config and self.config.configurable:
            raise ValueError("give either `context` or `config.configurable`, not both")
        return self

    def stream_modes(self) -> list[str]:
        """Return the stream modes, each once."""
        modes = self.stream_mode or ["values"]
        return list(dict.fromkeys([modes] if isinstance(modes, str) else modes))

    def effective_durability(self) -> str:
        """Return when checkpoints are stored, from the newer or the older field."""
        return self.durability or ("exit" if self.checkpoint_during is False else "async")


class RunCreate(RunOptions):
    """A run to be created."""

    assistant_id: AssistantName
    command: CommandBody | None = None
    checkpoint: Checkpoint | None = Field(default=None, description="The checkpoint from which it starts.")
    checkpoint_id: CheckpointId | None = Field(default=None, description="The same, in the thread's own graph.")
    multitask_strategy: MultitaskStrategy | None = Field(
        default=None, description="What happens to unfinished runs of the thread; default `enqueue`."
    )
    after_seconds: Annotated[int, Field(ge=0, le=_YEAR), INTEGRAL] | None = None
    if_not_exists: IfNotExists | None = Field(
        default=None, description="Whether a missing thread is created; default `reject`."
    )
    on_disconnect: Literal["cancel", "continue"] | None = None
    feedback_keys: Annotated[list[FeedbackKey], Field(max_length=20)] | None = Field(
        default=None, description="Send an event `feedback` at the end, with an address for each key to rate the run."
    )
    strict_resume: bool | None = Field(
        default=None, description="Whether to refuse an answer to a question that is no longer open."
    )


class StatelessRunCreate(RunCreate):
    """A run to be created on a thread of its own."""

    checkpoint: None = None
    checkpoint_id: None = None
    on_completion: OnCompletionBehavior | None = Field(
        default=None, description="What happens to its thread; default `delete`."
    )

    @model_validator(mode="after")
    def _nothing_to_resume(self) -> Self:
        if self.command and self.command.resume is not None:
            raise ValueError("only a run on a thread can be resumed")
        return self


class ProtocolRun(RunCreate):
    """A run that a command of the streaming protocol starts. All event types of the protocol are published."""

    def stream_modes(self) -> list[str]:
        """Return the event types of the protocol."""
        return ["values", "updates", "messages", "tools", "lifecycle", "custom", "tasks", "checkpoints"]


class RunRead(BaseModel):
    """A run in a response."""

    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    created_at: datetime
    updated_at: datetime
    status: RunStatus
    metadata: dict[str, Any]
    arguments: dict[str, Any] = Field(serialization_alias="kwargs", description="How the graph is executed.")
    multitask_strategy: MultitaskStrategy
    cancel_reason: str | None = Field(description="Why the run was stopped; null if it was not.")


class RunsCancel(LangGraphBody):
    """Runs to be stopped: some of a thread, or all with a status."""

    thread_id: Annotated[UUID, Field(strict=False)] | None = None
    run_ids: Annotated[list[Annotated[UUID, Field(strict=False)]], Field(max_length=1000)] | None = None
    status: BulkCancelRunsStatus | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [self.thread_id is not None, bool(self.run_ids)]
        if any(given) if self.status else not all(given):
            raise ValueError("give either `status`, or `thread_id` and `run_ids`")
        return self
