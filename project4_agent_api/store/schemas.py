"""Request and response bodies of the store."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from project4_agent_api.core.schemas import JsonObject, LangGraphBody, SearchLimit, SearchOffset
from shared.schemas import INTEGRAL, WITHOUT_NUL

# PostgreSQL's index entries are limited to 2,704 bytes: an owner, a namespace, a key, and an indexed field's path.
_NAMESPACE_BYTES = _KEY_BYTES = 1000
_PATH_BYTES = 250
_MIN_TTL, _MAX_TTL = 0.01, 10 * 366 * 24 * 60  # minutes


def _max_bytes(limit: int) -> AfterValidator:
    def check(text: str) -> str:
        if len(text.encode()) > limit:
            raise ValueError(f"must not be more than {limit} bytes")
        return text

    return AfterValidator(check)


def _limit_length(labels: list[str]) -> list[str]:
    if len(".".join(labels).encode()) > _NAMESPACE_BYTES:
        raise ValueError(f"must not be more than {_NAMESPACE_BYTES} bytes")
    return labels


def _refuse_reserved(labels: list[str]) -> list[str]:
    if labels[0] == "langgraph":
        raise ValueError("must not begin with langgraph, which LangGraph reserves")
    return labels


Label = Annotated[str, Field(min_length=1, pattern=r"^[^.]*$"), WITHOUT_NUL]
Labels = Annotated[list[Label], AfterValidator(_limit_length)]
Namespace = Annotated[
    Labels,
    Field(min_length=1, description="The namespace's labels, outermost first.", examples=[["memories", "cooking"]]),
    AfterValidator(_refuse_reserved),
]
Key = Annotated[str, Field(min_length=1), _max_bytes(_KEY_BYTES), WITHOUT_NUL]
FieldPath = Annotated[str, Field(min_length=1), _max_bytes(_PATH_BYTES), WITHOUT_NUL]


class ItemPut(LangGraphBody):
    """An item to store."""

    namespace: Namespace
    key: Key
    value: JsonObject
    index: Literal[False] | Annotated[list[FieldPath], Field(max_length=20)] | None = Field(
        default=None,
        description="Fields to index for vector search: false for none, null for the whole item.",
        examples=[["text", "tags[*]"]],
    )
    ttl: Annotated[float, Field(ge=_MIN_TTL, le=_MAX_TTL, allow_inf_nan=False)] | None = Field(
        default=None, description="Time to live in minutes; null for unlimited."
    )


class ItemDelete(LangGraphBody):
    """The item to delete."""

    namespace: Namespace
    key: Key


class ItemSearch(LangGraphBody):
    """A search for items."""

    namespace_prefix: Labels | None = Field(
        default=None, description="Only items in or below this namespace; empty for all."
    )
    filter: JsonObject | None = Field(
        default=None,
        description="Values that fields must equal, or conditions with `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`.",
        examples=[{"kind": "recipe", "minutes": {"$lte": 30}}],
    )
    limit: SearchLimit | None = Field(default=None, description="Maximum number of items. Default: 10.")
    offset: SearchOffset | None = Field(default=None, description="Number of results to skip.")
    query: Annotated[str, Field(max_length=8000), WITHOUT_NUL] | None = Field(
        default=None, description="Text to search for by meaning. Without it, the newest items come first."
    )
    refresh_ttl: bool | None = Field(
        default=None, description="Whether the search renews the time to live of the items it returns. Default: true."
    )


class NamespaceSearch(LangGraphBody):
    """A search for namespaces."""

    prefix: Labels | None = Field(default=None, description="First labels of the namespaces; `*` matches any label.")
    suffix: Labels | None = Field(default=None, description="Last labels of the namespaces; `*` matches any label.")
    max_depth: Annotated[int, Field(ge=1, le=100), INTEGRAL] | None = Field(
        default=None, description="Truncate namespaces to this number of labels."
    )
    limit: SearchLimit | None = Field(default=None, description="Maximum number of namespaces. Default: 100.")
    offset: SearchOffset | None = Field(default=None, description="Number of results to skip.")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if len(self.prefix or []) + len(self.suffix or []) > 100:
            raise ValueError("must not have more than 100 labels")
        return self


class ItemRead(BaseModel):
    """An item of the store."""

    model_config = ConfigDict(from_attributes=True)

    namespace: list[str]
    key: str
    value: Annotated[Any, WithJsonSchema({"type": "object"})]  # graphs may store any JSON
    created_at: datetime
    updated_at: datetime


class FoundItem(ItemRead):
    """An item that a search returns."""

    score: float | None = Field(description="Similarity to the query, up to 1; null without a query.")


class FoundItems(BaseModel):
    """The items of a search, the most similar first; without a query, the newest first."""

    items: list[FoundItem]


class Namespaces(BaseModel):
    """Namespaces that contain items."""

    namespaces: list[list[str]]
