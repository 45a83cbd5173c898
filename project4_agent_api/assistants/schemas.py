"""Request and response bodies of assistants."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from langgraph_sdk.schema import AssistantSelectField, AssistantSortBy, OnConflictBehavior
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from project4_agent_api.core.schemas import (
    Context,
    GraphConfig,
    JsonObject,
    LangGraphBody,
    Metadata,
    Name,
    Search,
    SearchLimit,
    SearchOffset,
    selection,
)
from shared.schemas import INTEGRAL, WITHOUT_NUL

GraphId = Annotated[Name, Field(description="The name of a graph of this service.")]
Description = Annotated[str, Field(max_length=10_000), WITHOUT_NUL]
Version = Annotated[int, Field(ge=1, le=2**31 - 1), INTEGRAL]


class AssistantCreate(LangGraphBody):
    """A new assistant."""

    graph_id: GraphId
    assistant_id: Annotated[UUID, Field(strict=False)] | None = Field(
        default=None, description="An id of your choice. Default: a new one."
    )
    config: GraphConfig | None = None
    context: Context | None = None
    metadata: Metadata | None = None
    if_exists: OnConflictBehavior | None = Field(
        default=None,
        description="If the id is taken: `raise` (default) answers 409, `do_nothing` returns the existing one.",
    )
    name: Name | None = None
    description: Description | None = None


class AssistantPatch(LangGraphBody):
    """Changes to an assistant. They create a new version."""

    graph_id: GraphId | None = None
    config: GraphConfig | None = None
    context: Context | None = None
    metadata: JsonObject | None = Field(default=None, description="Merged into the metadata, key by key.")
    name: Name | None = None
    description: Description | None = None


class AssistantFilter(LangGraphBody):
    """A filter of assistants."""

    metadata: JsonObject | None = Field(default=None, description="Key-value pairs that the metadata must contain.")
    graph_id: GraphId | None = None
    name: Name | None = Field(default=None, description="Text that the name must contain, case-insensitive.")


class AssistantSearch(Search, AssistantFilter):
    """A search for assistants."""

    sort_by: AssistantSortBy | None = None
    select: list[AssistantSelectField] | None = Field(default=None, description="Return only these fields.")


class VersionSearch(LangGraphBody):
    """A search for versions of an assistant."""

    metadata: JsonObject | None = Field(default=None, description="Key-value pairs that the metadata must contain.")
    limit: SearchLimit | None = None
    offset: SearchOffset | None = None


class VersionChoice(LangGraphBody):
    """The version to restore."""

    version: Version


class AssistantVersionRead(BaseModel):
    """An assistant as it was in one version."""

    model_config = ConfigDict(from_attributes=True)

    assistant_id: UUID
    version: int
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any] = Field(validation_alias=AliasChoices("meta", "metadata"))
    created_at: datetime
    name: str
    description: str | None


class AssistantRead(AssistantVersionRead):
    """An assistant: a graph with its settings."""

    updated_at: datetime


AssistantSelection = selection(AssistantRead)


class GraphSchemas(BaseModel):
    """The JSON schemas of a graph; null for types without a schema."""

    input_schema: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    state_schema: dict[str, Any] | None
    config_schema: dict[str, Any] | None
    context_schema: dict[str, Any] | None


class AssistantSchemas(GraphSchemas):
    """The JSON schemas of an assistant's graph."""

    graph_id: str
