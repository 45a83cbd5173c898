"""What is remembered, as it goes over the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from project4_agent_api.core.schemas import JsonObject, SearchLimit, SearchOffset
from shared.schemas import INTEGRAL, WITHOUT_NUL, RequestBody

# PostgreSQL's index takes 2,704 bytes: an owner, a namespace, a key, and the path of what an item is found by.
_NAMESPACE_BYTES = _KEY_BYTES = 1000
_PATH_BYTES = 250
_SHORTEST_LIFE, _LONGEST_LIFE = 0.01, 10 * 366 * 24 * 60  # minutes


def _at_most(limit: int) -> AfterValidator:
    def check(text: str) -> str:
        if len(text.encode()) > limit:
            raise ValueError(f"must not be more than {limit} bytes")
        return text

    return AfterValidator(check)


def _short(labels: list[str]) -> list[str]:
    if len(".".join(labels).encode()) > _NAMESPACE_BYTES:
        raise ValueError(f"must not be more than {_NAMESPACE_BYTES} bytes")
    return labels


def _not_langgraphs(labels: list[str]) -> list[str]:
    if labels[0] == "langgraph":
        raise ValueError("must not begin with langgraph, which LangGraph keeps to itself")
    return labels


Label = Annotated[str, Field(min_length=1, pattern=r"^[^.]*$"), WITHOUT_NUL]
Labels = Annotated[list[Label], AfterValidator(_short)]
Namespace = Annotated[
    Labels,
    Field(min_length=1, description="Where it is, from the outermost on.", examples=[["memories", "cooking"]]),
    AfterValidator(_not_langgraphs),
]
Key = Annotated[str, Field(min_length=1), _at_most(_KEY_BYTES), WITHOUT_NUL]
FieldPath = Annotated[str, Field(min_length=1), _at_most(_PATH_BYTES), WITHOUT_NUL]


class ItemPut(RequestBody):
    """Something to remember."""

    namespace: Namespace
    key: Key
    value: JsonObject
    index: Literal[False] | Annotated[list[FieldPath], Field(max_length=20)] | None = Field(
        default=None,
        description="The fields by whose meaning it is found; none where it is false, the whole item where it is null.",
        examples=[["text", "tags[*]"]],
    )
    ttl: Annotated[float, Field(ge=_SHORTEST_LIFE, le=_LONGEST_LIFE, allow_inf_nan=False)] | None = Field(
        default=None, description="Minutes to live; for ever where it is null."
    )


class ItemDelete(RequestBody):
    """What to forget."""

    namespace: Namespace
    key: Key


class ItemSearch(RequestBody):
    """What to look for."""

    namespace_prefix: Labels | None = Field(default=None, description="Below which namespace; all where it is empty.")
    filter: JsonObject | None = Field(
        default=None,
        description="What fields must equal; or `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte` of them.",
        examples=[{"kind": "recipe", "minutes": {"$lte": 30}}],
    )
    limit: SearchLimit | None = Field(default=None, description="At most so many; 10 where it is not given.")
    offset: SearchOffset | None = Field(default=None, description="Leave so many out.")
    query: Annotated[str, Field(max_length=8000), WITHOUT_NUL] | None = Field(
        default=None, description="What they should be about. Without it the newest come first."
    )
    refresh_ttl: bool | None = Field(default=None, description="Whether what is found lives on as if it were new.")


class NamespaceSearch(RequestBody):
    """Which namespaces."""

    prefix: Labels | None = Field(default=None, description="How they begin; `*` is any one label.")
    suffix: Labels | None = Field(default=None, description="How they end; `*` is any one label.")
    max_depth: Annotated[int, Field(ge=1, le=100), INTEGRAL] | None = Field(
        default=None, description="Cut what is longer to so many labels."
    )
    limit: SearchLimit | None = Field(default=None, description="At most so many; 100 where it is not given.")
    offset: SearchOffset | None = Field(default=None, description="Leave so many out.")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if len(self.prefix or []) + len(self.suffix or []) > 100:
            raise ValueError("too many labels")
        return self


class ItemRead(BaseModel):
    """Something that is remembered."""

    model_config = ConfigDict(from_attributes=True)

    namespace: list[str]
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class FoundItem(ItemRead):
    """Something that was found."""

    score: float | None = Field(description="How near its meaning is, up to 1; null where nothing was asked.")


class FoundItems(BaseModel):
    """The best first; where nothing was asked, the newest."""

    items: list[FoundItem]


class Namespaces(BaseModel):
    """Where something is remembered."""

    namespaces: list[list[str]]
