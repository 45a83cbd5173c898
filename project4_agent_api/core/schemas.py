"""What the request bodies of LangGraph's API have in common.

A field that is null, or that says what holds anyway, is taken; what cannot be done is refused, and nothing ignored.
"""

import math
import re
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx2
from pydantic import AfterValidator, BaseModel, Field, create_model

from shared.errors import InvalidRequest
from shared.schemas import INTEGRAL, WITHOUT_NUL, RequestBody

_DEEPEST = 100  # what is nested deeper, PostgreSQL and the serialisers give up on sooner or later
_LARGEST = 2**31 - 1
_LARGEST_PORT = 65535


def _storable(value: Any) -> Any:  # noqa: ANN401  any JSON
    """Refuse what would not come back as it was: NUL characters, halves of characters, endless numbers."""
    left = [(value, 0)]
    while left:
        one, depth = left.pop()
        if depth > _DEEPEST:
            raise ValueError(f"must not be nested more than {_DEEPEST} deep")
        match one:
            case str():
                _text(one)
            case float() if not math.isfinite(one):
                raise ValueError("numbers must be finite")
            case int() if not -(2**63) <= one < 2**64:  # the serialisers' limits, and the clients'
                raise ValueError("integers must have 64 bits, at most")
            case dict():
                left += [(part, depth + 1) for pair in one.items() for part in pair]
            case list():
                left += [(part, depth + 1) for part in one]
            case _:
                pass
    return value


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise ValueError("must not contain lone surrogates")
    return text


AnyJson = Annotated[Any, AfterValidator(_storable)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_storable)]

# What the service itself tells a graph, and nobody else may: whose thread it works on above all.
_SERVER_KEYS = {"assistant_id", "checkpoint_id", "checkpoint_map", "checkpoint_ns", "cron_id", "run_id", "thread_id"}
_SERVER_PREFIXES = ("__", "langgraph_auth_")


def _for_clients(values: dict[str, Any]) -> dict[str, Any]:
    for key in values:
        if key in _SERVER_KEYS or key.startswith(_SERVER_PREFIXES):
            raise ValueError(f"{key[:50]} is set by the service")
    return values


Configurable = Annotated[JsonObject, AfterValidator(_for_clients)]
Tag = Annotated[str, Field(max_length=200), WITHOUT_NUL]


class GraphConfig(RequestBody):
    """How a graph is to be run."""

    tags: list[Tag] | None = Field(default=None, max_length=100, description="Of every call, for tracing.")
    recursion_limit: Annotated[int, Field(ge=1, le=10_000), INTEGRAL] | None = Field(
        default=None, description="Steps that a run may take, at most."
    )
    configurable: Configurable | None = Field(
        default=None, description="What the graph can be told; the same as `context`, in its older form."
    )


Name = Annotated[str, Field(min_length=1, max_length=200), WITHOUT_NUL]
Metadata = Annotated[JsonObject, Field(description="Whatever you want to find it by.")]
Context = Annotated[Configurable, Field(description="What the graph can be told.")]

SearchLimit = Annotated[int, Field(ge=1, le=1000), INTEGRAL]
SearchOffset = Annotated[int, Field(ge=0, le=_LARGEST), INTEGRAL]
SortOrder = Literal["asc", "desc"]


class Search(RequestBody):
    """What the searches have in common."""

    metadata: JsonObject | None = Field(default=None, description="What its metadata must contain.")
    limit: SearchLimit | None = Field(default=None, description="At most so many; 10 where it is not given.")
    offset: SearchOffset | None = Field(default=None, description="Leave so many out.")
    sort_order: SortOrder | None = Field(default=None, description="`desc` where it is not given.")

    def page(self) -> tuple[int, int]:
        """Return the limit and the offset."""
        return self.limit or 10, self.offset or 0


def selection(model: type[BaseModel]) -> type[BaseModel]:
    """Make a model of which every field may be missing: what a search with `select` answers with."""
    fields: dict[str, Any] = {
        name: (field.annotation | None if field.annotation is not None else None, None)
        for name, field in model.model_fields.items()
    }
    return create_model(f"{model.__name__}Selection", __doc__=model.__doc__, **fields)


def _web_address(address: str) -> str:
    try:
        url = httpx2.URL(address)
        host = url.raw_host.decode("ascii")
    except (httpx2.InvalidURL, ValueError):
        raise ValueError("must be an http:// or https:// address") from None
    if url.scheme not in ("http", "https") or not host or (url.port or 0) > _LARGEST_PORT:
        raise ValueError("must be an http:// or https:// address")
    if url.userinfo:
        raise ValueError("must not carry a user name or a password: they would not be sent")
    return address


Webhook = Annotated[str, Field(max_length=2000), WITHOUT_NUL, AfterValidator(_web_address)]


def _is_id(value: str) -> str:
    UUID(value)
    return value


Namespace = Annotated[str, Field(max_length=10_000), WITHOUT_NUL]
CheckpointId = Annotated[str, Field(max_length=100), AfterValidator(_is_id)]


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
