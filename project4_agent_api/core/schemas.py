"""Types shared by the request bodies of LangGraph's API.

LangGraph's server ignores fields that it does not know, and clients rely on it: they send fields of newer versions, and
a run's whole configuration. So unknown fields are ignored here too, on these paths only. A known field with a value
that is not supported is rejected.
"""

import math
import re
from typing import Annotated, Any, Self
from uuid import UUID

import httpx2
from langgraph_sdk.schema import SortOrder
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, create_model, model_validator

from shared.errors import InvalidRequest
from shared.schemas import INTEGRAL, WITHOUT_NUL

_MAX_DEPTH = 100  # beyond it, PostgreSQL and the serializers fail sooner or later
_MAX_NODES = 100_000  # a megabyte of empty lists takes 20 megabytes of memory
_MAX_OFFSET = 2**31 - 1
_MAX_PORT = 65535


def _storable(value: Any) -> Any:  # noqa: ANN401  any JSON
    """Reject values that PostgreSQL would not return unchanged: NUL characters, lone surrogates, infinite numbers."""
    remaining = [(value, 0)]
    count = 0
    while remaining:
        item, depth = remaining.pop()
        count += 1
        if count > _MAX_NODES:
            raise ValueError(f"must not have more than {_MAX_NODES:,} values and keys")
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


class LangGraphBody(BaseModel):
    """A request body on LangGraph's paths: unknown fields are ignored, wrong types are rejected."""

    model_config = ConfigDict(strict=True)


# Keys of a configuration that only the service sets. Clients may send them, because `RemoteGraph` passes on the
# configuration of the run that it is part of; they are ignored.
_SERVER_KEYS = {
    "assistant_id",
    "checkpoint_id",
    "checkpoint_map",
    "checkpoint_ns",
    "cron_id",
    "graph_id",
    "langgraph_request_id",
    "run_id",
    "thread_id",
}
_INTERNAL, _AUTHENTICATION = "__", "langgraph_auth_"
# Metadata of a run that only the service sets; those of the outer run come with its configuration.
_SERVER_METADATA = {"assistant_id", "created_by", "cron_id", "graph_id", "run_attempt", "run_id", "thread_id"}
# A configuration with both is one that a server has made for a run.
_MARKS_OF_A_RUN = {"assistant_id", "run_id"}


def is_server_key(key: str) -> bool:
    """Return whether only the service sets a key of a configuration."""
    return key in _SERVER_KEYS or key.startswith((_INTERNAL, _AUTHENTICATION))


def _refuse(values: dict[str, Any], *prefixes: str) -> None:
    for key in values:
        if key.startswith(prefixes):
            raise ValueError(f"{key[:50]} is set by the service")


def _without_identity(values: dict[str, Any]) -> dict[str, Any]:
    _refuse(values, "thread_id", _AUTHENTICATION)
    return {key: value for key, value in values.items() if not key.startswith(_INTERNAL)}


Configurable = Annotated[JsonObject, Field(description="Values for the graph: the older form of `context`.")]
Tag = Annotated[str, Field(max_length=200), WITHOUT_NUL]


class GraphConfig(LangGraphBody):
    """Configuration of a run: LangChain's `RunnableConfig`. Its `callbacks` and `run_id` are ignored."""

    tags: list[Tag] | None = Field(default=None, max_length=100, description="Tags of every call, for tracing.")
    metadata: JsonObject | None = Field(default=None, description="Metadata of every call and checkpoint.")
    run_name: Annotated[str, Field(max_length=200), WITHOUT_NUL] | None = Field(
        default=None, description="Name of the run, for tracing."
    )
    max_concurrency: Annotated[int, Field(ge=1, le=10_000), INTEGRAL] | None = Field(
        default=None, description="Maximum number of nodes that are executed at the same time."
    )
    recursion_limit: Annotated[int, Field(ge=1, le=10_000), INTEGRAL] | None = Field(
        default=None, description="Maximum number of steps of a run."
    )
    configurable: Configurable | None = None

    @model_validator(mode="after")
    def _drop_server_keys(self) -> Self:
        if self.metadata:
            self.metadata = {key: value for key, value in self.metadata.items() if key not in _SERVER_METADATA}
        if self.configurable:
            if not self.configurable.keys() >= _MARKS_OF_A_RUN:
                _refuse(self.configurable, _AUTHENTICATION)
            self._take(self.configurable)
            self.configurable = {key: value for key, value in self.configurable.items() if not is_server_key(key)}
        return self

    def _take(self, configurable: dict[str, Any]) -> None:
        """Read the keys that are not for the graph."""
        _refuse(configurable, "thread_id")


_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


class RunConfig(GraphConfig):
    """Configuration of a run on a thread, which may name the thread and a checkpoint."""

    _thread_id: str | None = PrivateAttr(default=None)
    _checkpoint_id: str | None = PrivateAttr(default=None)

    def _take(self, configurable: dict[str, Any]) -> None:
        thread_id, checkpoint_id = configurable.get("thread_id"), configurable.get("checkpoint_id") or None
        self._thread_id = None if thread_id is None else str(thread_id).lower()
        if checkpoint_id is not None and not (isinstance(checkpoint_id, str) and _ID.fullmatch(checkpoint_id)):
            raise ValueError("checkpoint_id: must be the id of a checkpoint")
        self._checkpoint_id = checkpoint_id

    @property
    def checkpoint_id(self) -> str | None:
        """The checkpoint from which the run starts."""
        return self._checkpoint_id

    def require_thread(self, thread_id: UUID | None) -> None:
        """Check that the configuration names no other thread than the run's.

        Args:
            thread_id: The thread in the path; None for a run on a thread of its own.

        Raises:
            InvalidRequest: if it does.
        """
        if self._thread_id is not None and self._thread_id != str(thread_id):
            raise InvalidRequest("config.configurable.thread_id is set by the service: it is the thread in the path.")


Name = Annotated[str, Field(min_length=1, max_length=200), WITHOUT_NUL]
Metadata = Annotated[JsonObject, Field(description="Values to search by.")]
Context = Annotated[JsonObject, AfterValidator(_without_identity), Field(description="Values for the graph.")]

SearchLimit = Annotated[int, Field(ge=1, le=1000), INTEGRAL]
SearchOffset = Annotated[int, Field(ge=0, le=_MAX_OFFSET), INTEGRAL]


class Search(LangGraphBody):
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


class Checkpoint(LangGraphBody):
    """A point in a thread's history, as a state names it."""

    thread_id: Annotated[UUID, Field(strict=False)] | None = Field(
        default=None, description="The thread's own id, where it is given."
    )
    checkpoint_ns: Namespace | None = None
    checkpoint_id: CheckpointId | None = None
    checkpoint_map: dict[Namespace, CheckpointId] | None = Field(default=None, max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def _of_config(cls, value: Any) -> Any:  # noqa: ANN401  any JSON
        """Take the checkpoint out of a configuration, which clients send too, and leave out fields without a value."""
        if not isinstance(value, dict):
            return value
        fields = value.get("configurable", value)
        if not isinstance(fields, dict):
            return fields
        return {name: part for name, part in fields.items() if part != "" or name == "checkpoint_ns"}

    def configurable(self, thread_id: UUID) -> dict[str, Any]:
        """Return it as LangGraph's own configuration.

        Raises:
            InvalidRequest: if it is of another thread than this one.
        """
        if self.thread_id not in (None, thread_id):
            raise InvalidRequest("The checkpoint is of another thread.")
        return self.model_dump(exclude={"thread_id"}, exclude_none=True)
