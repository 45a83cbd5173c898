"""Request bodies of the streaming protocol: subscriptions and commands."""

from typing import Annotated, Any, Self

from langgraph_sdk.schema import MultitaskStrategy
from pydantic import Field, model_validator

from project4_agent_api.core.schemas import AnyJson, JsonObject, LangGraphBody, Metadata, Name, RunConfig
from project4_agent_api.graphs.commands import SendTo
from project4_agent_api.runs.schemas import AssistantName
from shared.schemas import INTEGRAL

Channel = Annotated[
    str,
    Field(
        max_length=200,
        pattern=r"^(values|updates|messages|tools|lifecycle|input|checkpoints|tasks|custom(:.+)?)$",
        examples=["values", "messages", "custom:progress"],
    ),
]
Namespace = Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=100)]
_LARGEST = 2**53 - 1  # the largest safe integer of JavaScript


class EventStreamRequest(LangGraphBody):
    """The events of a thread that a client subscribes to."""

    channels: list[Channel] = Field(min_length=1, max_length=100)
    namespaces: Annotated[list[Namespace], Field(max_length=100)] | None = Field(
        default=None, description="Only these subgraphs and those inside them; `[[]]` is the graph itself."
    )
    depth: Annotated[int, Field(ge=0, le=1000), INTEGRAL] | None = Field(
        default=None, description="Maximum number of levels below the namespaces."
    )
    since: Annotated[int, Field(ge=0, le=_LARGEST), INTEGRAL] | None = Field(
        default=None, description="The last `seq` that was received: only later events."
    )

    def includes(self, channel: str, namespace: list[str]) -> bool:
        """Return whether an event was requested. `custom` includes `custom:progress`."""
        if channel not in self.channels and channel.partition(":")[0] not in self.channels:
            return False
        return not self.namespaces or any(self._is_below(namespace, above) for above in self.namespaces)

    def _is_below(self, namespace: list[str], above: list[str]) -> bool:
        if len(namespace) < len(above) or (self.depth is not None and len(namespace) - len(above) > self.depth):
            return False
        # A part is `node:task`; the node alone includes all of its tasks.
        return all(name in (part, part.partition(":")[0]) for part, name in zip(namespace, above, strict=False))


class Command(LangGraphBody):
    """A command to a thread."""

    id: Annotated[int, Field(ge=0, le=_LARGEST), INTEGRAL] = Field(description="The response has the same id.")
    method: str = Field(max_length=100, examples=["run.start"])
    params: dict[str, Any] | None = None


class RunStart(LangGraphBody):
    """The parameters of `run.start`."""

    assistant_id: AssistantName
    input: AnyJson = None
    config: RunConfig | None = None
    metadata: Metadata | None = None
    multitask_strategy: MultitaskStrategy | None = None
    multitaskStrategy: MultitaskStrategy | None = None  # noqa: N815  the protocol's older name; clients send both


class Answer(LangGraphBody):
    """An answer to a question of a graph."""

    interrupt_id: Name
    namespace: Namespace | None = None
    response: AnyJson = None


class InputRespond(LangGraphBody):
    """The parameters of `input.respond`: one or several answers."""

    interrupt_id: Name | None = None
    namespace: Namespace | None = None
    response: AnyJson = None
    responses: Annotated[list[Answer], Field(min_length=1, max_length=1000)] | None = None
    update: JsonObject | None = None
    goto: Name | SendTo | Annotated[list[Name | SendTo], Field(max_length=1000)] | None = None
    config: RunConfig | None = None
    metadata: Metadata | None = None
    strict_resume: bool | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.interrupt_id is None) == (self.responses is None):
            raise ValueError("give either `interrupt_id` with `response`, or `responses`")
        return self

    def answers(self) -> dict[str, Any]:
        """Return the answers by question id."""
        if self.responses is not None:
            return {answer.interrupt_id: answer.response for answer in self.responses}
        return {str(self.interrupt_id): self.response}
