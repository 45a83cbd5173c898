"""Runs on the wire: LangGraph's own forms."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, model_validator

from project4_agent_api.core.schemas import AnyJson, Context, GraphConfig, JsonObject, Metadata, Name, Webhook
from project4_agent_api.models import RunStatus
from shared.errors import InvalidRequest
from shared.schemas import INTEGRAL, WITHOUT_NUL, RequestBody

StreamMode = Literal[
    "values", "messages", "messages-tuple", "updates", "events", "tasks", "checkpoints", "debug", "custom"
]
MultitaskStrategy = Literal["reject", "interrupt", "rollback", "enqueue"]
Durability = Literal["sync", "async", "exit"]
RunField = Literal[
    "run_id",
    "thread_id",
    "assistant_id",
    "created_at",
    "updated_at",
    "status",
    "metadata",
    "kwargs",
    "multitask_strategy",
]
CancelAction = Literal["interrupt", "rollback"]
AssistantName = Annotated[str, Field(min_length=1, max_length=200, description="An assistant's id, or a graph's name.")]
_YEAR = 366 * 24 * 3600


def _is_id(value: str) -> str:
    UUID(value)
    return value


Namespace = Annotated[str, Field(max_length=10_000), WITHOUT_NUL]
CheckpointId = Annotated[str, Field(max_length=100), AfterValidator(_is_id)]
Nodes = Literal["*"] | Annotated[list[Name], Field(max_length=1000)]


class Checkpoint(RequestBody):
    """A point in a thread's history, as a state names it."""

    thread_id: Annotated[UUID, Field(strict=False)] | None = Field(
        default=None, description="The thread's own id, where it is given."
    )
    checkpoint_ns: Namespace | None = None
    checkpoint_id: CheckpointId | None = None
    checkpoint_map: dict[Namespace, CheckpointId] | None = Field(default=None, max_length=1000)

    def configurable(self, thread_id: UUID) -> dict[str, Any]:
        """Return it as LangGraph's own configuration.

        Raises:
            InvalidRequest: if it is of another thread than this one.
        """
        if self.thread_id not in (None, thread_id):
            raise InvalidRequest("The checkpoint is of another thread.")
        return self.model_dump(exclude={"thread_id"}, exclude_none=True)


class SendTo(RequestBody):
    """A node, and what it is given."""

    node: Name
    input: AnyJson = None


class CommandBody(RequestBody):
    """What a graph is told, in place of an input."""

    goto: Name | SendTo | Annotated[list[Name | SendTo], Field(max_length=1000)] | None = None
    update: JsonObject | list[Annotated[tuple[Name, AnyJson], Field(strict=False)]] | None = None
    resume: AnyJson = None


class RunOptions(RequestBody):
    """How a graph is to be executed: what runs and schedules have in common."""

    input: AnyJson = None
    config: GraphConfig | None = None
    context: Context | None = None
    metadata: Metadata | None = None
    interrupt_before: Nodes | None = None
    interrupt_after: Nodes | None = None
    webhook: Webhook | None = Field(default=None, description="Told when the run is over.")
    stream_mode: StreamMode | Annotated[list[StreamMode], Field(max_length=20)] | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = Field(default=None, description="Every stream is.")
    durability: Durability | None = Field(
        default=None, description="When checkpoints are stored: `async` if not given."
    )
    checkpoint_during: bool | None = Field(default=None, description="The older form of `durability`.")

    @model_validator(mode="after")
    def _one_of_config_and_context(self) -> Self:
        if self.context and self.config and self.config.configurable:
            raise ValueError("give either `context` or `config.configurable`, not both")
        return self

    def modes(self) -> list[str]:
        """Return the stream modes."""
        given = self.stream_mode or ["values"]
        return list(dict.fromkeys([given] if isinstance(given, str) else given))

    def how_durable(self) -> str:
        """Return when checkpoints are stored."""
        return self.durability or ("exit" if self.checkpoint_during is False else "async")


class RunCreate(RunOptions):
    """A run to be made."""

    assistant_id: AssistantName
    command: CommandBody | None = None
    checkpoint: Checkpoint | None = Field(default=None, description="Where in the thread's history it begins.")
    checkpoint_id: CheckpointId | None = Field(default=None, description="The same, of the thread's own graph.")
    multitask_strategy: MultitaskStrategy | None = Field(
        default=None, description="What becomes of runs of the thread that are not over: `enqueue` if not given."
    )
    after_seconds: Annotated[int, Field(ge=0, le=_YEAR), INTEGRAL] | None = None
    if_not_exists: Literal["create", "reject"] | None = Field(
        default=None, description="Whether a thread that is not there is made: `reject` if not given."
    )
    on_disconnect: Literal["cancel", "continue"] | None = None
    strict_resume: bool | None = Field(
        default=None, description="Whether an answer to a question that does not wait for one is refused."
    )
    feedback_keys: Annotated[list[str], Field(max_length=0)] | None = Field(
        default=None, description="LangSmith's. Not supported here."
    )
    langsmith_tracer: Annotated[dict[str, None], Field(max_length=0)] | None = Field(
        default=None, description="LangSmith's. Not supported here."
    )
    on_completion: Literal["keep"] | None = Field(default=None, description="The thread of a run is always kept.")


class StatelessRunCreate(RunCreate):
    """A run to be made on a thread of its own."""

    checkpoint: None = None
    checkpoint_id: None = None
    on_completion: Literal["keep", "delete"] | None = Field(  # type: ignore[assignment]  # here there is a choice
        default=None, description="What becomes of its thread: `delete` if not given."
    )

    @model_validator(mode="after")
    def _nothing_to_resume(self) -> Self:
        if self.command and self.command.resume is not None:
            raise ValueError("only a run on a thread can be resumed")
        return self


class ProtocolRun(RunCreate):
    """A run that a command of the streaming protocol asks for. It is streamed in all of the protocol's kinds."""

    def modes(self) -> list[str]:
        """Return what the protocol streams."""
        return ["values", "updates", "messages", "tools", "lifecycle", "custom", "tasks", "checkpoints"]


class RunRead(BaseModel):
    """A run, as shown."""

    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    created_at: datetime
    updated_at: datetime
    status: RunStatus
    metadata: dict[str, Any]
    arguments: dict[str, Any] = Field(serialization_alias="kwargs", description="How the graph was called.")
    multitask_strategy: MultitaskStrategy


class RunsCancel(RequestBody):
    """Runs to be stopped: some of a thread, or all with a status."""

    thread_id: Annotated[UUID, Field(strict=False)] | None = None
    run_ids: Annotated[list[Annotated[UUID, Field(strict=False)]], Field(max_length=1000)] | None = None
    status: Literal["pending", "running", "all"] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.status is None) == (self.thread_id is None or not self.run_ids):
            raise ValueError("give either `status`, or `thread_id` and `run_ids`")
        return self
