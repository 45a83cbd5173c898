"""Types shared by the request bodies of LangGraph's API.

A field that is null, or has the value of the default, is accepted. A value that is not supported is rejected, never
ignored.
"""

import math
import re
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx2
from pydantic import AfterValidator, BaseModel, Field, create_model

from shared.errors import InvalidRequest
from shared.schemas import INTEGRAL, WITHOUT_NUL, RequestBody

_MAX_DEPTH = 100  # beyond it, PostgreSQL and the serializers fail sooner or later
_MAX_OFFSET = 2**31 - 1
_MAX_PORT = 65535


def _storable(value: Any) -> Any:  # noqa: ANN401  any JSON
    """Reject values that PostgreSQL would not return unchanged: NUL characters, lone surrogates, infinite numbers."""
    remaining = [(value, 0)]
    while remaining:
        item, depth = remaining.pop()
        if depth > _MAX_DEPTH:
            raise ValueError(f"must not be nested more than {_MAX_DEPTH} deep")
        match item:
            case str():
                _check_text(item)
            case float() if not math.isfinite(item):
                raise ValueError("numbers must be finite")
            case int() if not -(2**63) <= item < 2**64:  # the range of the serializers and of clients
                raise ValueError("integers must have at most 64 bits")
            case dict():
                remaining += [(part, depth + 1) for pair in item.items() for part in pair]
            case list():
                remaining += [(part, depth + 1) for part in item]
            case _:
                pass
    return value


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise ValueError("must not contain lone surrogates")


AnyJson = Annotated[Any, AfterValidator(_storable)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_storable)]

# Keys that only the service may set, above all those that name the thread.
_SERVER_KEYS = {"assistant_id", "checkpoint_id", "checkpoint_map", "checkpoint_ns", "cron_id", "run_id", "thread_id"}
_SERVER_PREFIXES = ("__", "langgraph_auth_")


def _without_server_keys(values: dict[str, Any]) -> dict[str, Any]:
    for key in values:
        if key in _SERVER_KEYS or key.startswith(_SERVER_PREFIXES):
            raise ValueError(f"{key[:50]} is set by the service")
    return values


Configurable = Annotated[JsonObject, AfterValidator(_without_server_keys)]
Tag = Annotated[str, Field(max_length=200), WITHOUT_NUL]


class GraphConfig(RequestBody):
    """Configuration of a run."""

    tags: list[Tag] | None = Field(default=None, max_length=100, description="Tags of every call, for tracing.")
    recursion_limit: Annotated[int, Field(ge=1, le=10_000), INTEGRAL] | None = Field(
        default=None, description="Maximum number of steps of a run."
    )
    configurable: Configurable | None = Field(
        default=None, description="Values for the graph: the older form of `context`."
    )


Name = Annotated[str, Field(min_length=1, max_length=200), WITHOUT_NUL]
Metadata = Annotated[JsonObject, Field(description="Values to search by.")]
Context = Annotated[Configurable, Field(description="Values for the graph.")]

SearchLimit = Annotated[int, Field(ge=1, le=1000), INTEGRAL]
SearchOffset = Annotated[int, Field(ge=0, le=_MAX_OFFSET), INTEGRAL]
SortOrder = Literal["asc", "desc"]


class Search(RequestBody):
    """Fields shared by all searches."""

    metadata: JsonObject | None = Field(default=None, description="Values that the metadata must contain.")
    limit: SearchLimit | None = Field(default=None, description="Maximum number of items. The default is 10.")
    offset: SearchOffset | None = Field(default=None, description="Number of items to skip.")
    sort_order: SortOrder | None = Field(default=None, description="The default is `desc`.")

    def page(self) -> tuple[int, int]:
        """Return the limit and the offset."""
        return self.limit or 10, self.offset or 0


def selection(model: type[BaseModel]) -> type[BaseModel]:
    """Return a model whose fields are all optional, for the response of a search with `select`."""
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
    if url.scheme not in ("http", "https") or not host or (url.port or 0) > _MAX_PORT:
        raise ValueError("must be an http:// or https:// address")
    if url.userinfo:
        raise ValueError("must not contain a user name or a password: they would not be sent")
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
