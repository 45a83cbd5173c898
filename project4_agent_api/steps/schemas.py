"""Responses of the run view."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from project4_agent_api.core.model_usage import Cost, Tokens
from project4_agent_api.models import RunStatus


class RunListed(BaseModel):
    """A run in a list."""

    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    graph_id: str | None
    status: RunStatus
    title: str | None = Field(description="The beginning of its message, or the title of its thread.")
    attempt: int = Field(description="How often a worker has claimed it.")
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime = Field(description="Of a finished run: when it ended.")
    waiting: bool = Field(description="Whether it ended with a question that its thread still waits to be answered.")
    tokens: Tokens | None = Field(description="Of all its model calls; null without any. In lists of ended runs only.")
    cost: Cost | None = Field(description="Of these tokens.")


class RunDetails(RunListed):
    """A run with the totals of its steps."""

    thread_status: str
    failures: int = Field(description="How many of its workers died.")
    error: dict[str, Any] | None
    request_id: str | None = Field(description="The id of the request that created it.")
    durability: str = Field(description="With `exit`, only the last state is stored.")
    context: Any = Field(description="The values that configured the graph; null if they are long.")
    due_at: datetime
    steps: int
    tokens_complete: bool = Field(description="False if model calls are missing, such as those of a lost worker.")
    events_kept: bool | None = Field(description="Whether its events can still be read; null if that is unknown.")


StepStatus = Literal["done", "failed", "stopped", "waiting", "open", "end"]


class StepTask(BaseModel):
    """A node that was executed in a step."""

    id: str
    name: str | None = Field(description="Null for a task of a functional graph.")
    failed: bool
    asked: bool = Field(description="Whether it stopped with a question.")
    answered: bool = Field(description="Whether the question has an answer.")
    writes: list[str] = Field(description="The channels that it wrote.")


class Step(BaseModel):
    """A step of a graph: the nodes that were executed at a checkpoint."""

    checkpoint_id: str = Field(description="The state before the step.")
    namespace: str = Field(description="The subgraph: `node:task`, parts separated by `|`; empty for the graph itself.")
    step: int
    source: str = Field(description="`input`, `loop`, `update` or `fork`: what made the checkpoint.")
    attempt: int | None = Field(description="The attempt at the run that executed it, as far as is known.")
    own: bool = Field(description="False if the checkpoint is an earlier run's, which this run continued.")
    parent_checkpoint_id: str | None
    started_at: datetime
    ended_at: datetime | None
    status: StepStatus
    tasks: list[StepTask]
    writes_omitted: int = Field(description="How many of its writes were left out; `tasks` are those of the others.")
    next: list[str] = Field(description="The nodes that were due and stored nothing.")
    tokens: Tokens | None
    cost: Cost | None
    model: str | None
    calls: list[str] = Field(description="The tools that the model called.")
    tools: list[str] = Field(description="The tools that returned a result.")
    continued_by: UUID | None = Field(description="The run that continued after this step, if it is another one.")


class StepWrite(BaseModel):
    """A value that a node wrote to a channel of the state."""

    channel: str
    value: Any
    bytes: int
    cut: bool = Field(description="Whether parts of the value were left out.")


class TaskDetails(StepTask):
    """An executed node, with its writes."""

    written: list[StepWrite]
    questions: list[Any]
    answers: list[Any]


class StateChange(BaseModel):
    """The difference that a step made to a channel of the state."""

    channel: str
    kind: Literal["set", "items", "large"] = Field(
        description="`items` for a list: the added, changed and removed ones; `large` for values that are not shown."
    )
    before: Any = None
    after: Any = None
    added: list[Any] = []
    changed: list[Any] = []
    removed: list[Any] = []
    items_before: int | None = None
    items_after: int | None = None
    bytes: int
    cut: bool


class StepDetails(BaseModel):
    """A step with its input, what its nodes wrote, and the difference to the state."""

    checkpoint_id: str
    namespace: str
    messages: list[Any] = Field(description="The last messages of the state before the step: the model's prompt.")
    messages_total: int | None = Field(description="Null if the state has no messages that could be read.")
    tasks: list[TaskDetails]
    changes: list[StateChange]
    cut: bool = Field(description="Whether anything was left out.")
