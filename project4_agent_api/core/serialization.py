"""JSON of the values in a graph's state (messages, models, dataclasses, sets), and responses made of it."""

import contextlib
import re
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from fastapi import Response
from langgraph.errors import EmptyInputError, GraphBubbleUp, InvalidUpdateError, TaskNotFound
from langgraph.types import Send
from pydantic import BaseModel

from shared.errors import ServiceError

_MAX_DEPTH = 200  # orjson fails at 255
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
_SURROGATES = re.compile("[\ud800-\udfff]")
# An escaped NUL, `\u0000`, but not an escaped backslash before `u0000`: `\\u0000`.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


class EncodedJson:
    """JSON that is passed on without decoding: `dumps` inserts it as it is. orjson would encode a dataclass itself."""

    __slots__ = ("encoded",)

    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded

    def decode_json(self) -> Any:  # noqa: ANN401  any JSON
        """Return its value."""
        return orjson.loads(self.encoded)


def dumps(value: object) -> bytes:
    """Return a value as JSON that PostgreSQL accepts.

    NUL characters and lone surrogates become U+FFFD, a value of a type without a JSON form, or nested more than 200
    deep, becomes null.
    """
    try:
        encoded = orjson.dumps(value, default=_plain, option=_OPTIONS)
    except TypeError:
        encoded = orjson.dumps(_encodable(value), default=_plain, option=_OPTIONS)
    return _NUL.sub(rb"\1\\ufffd", encoded) if b"\\u0000" in encoded else encoded


def _plain(value: Any) -> Any:  # noqa: ANN401, C901, PLR0911  a return for each type
    match value:
        case EncodedJson():
            return orjson.Fragment(value.encoded)
        case BaseModel():
            return value.model_dump()
        case Send():
            return {"node": value.node, "args": value.arg}
        case BaseException():
            return public_error(value)
        case set() | frozenset() | deque():
            return list(value)
        case bytes() | bytearray() | memoryview():
            return b64encode(value).decode()
        case Mapping():
            return dict(value)
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return float(value)
        case tuple():  # a named tuple
            return value._asdict() if hasattr(value, "_asdict") else list(value)
    return str(value) if isinstance(value, UUID) or type(value).__module__ in {"ipaddress", "pathlib", "re"} else None


# Exceptions that a graph's author raises for its user, and LangGraph's own about a graph. The text of any other
# exception comes from a library and may quote an address, a header or a key.
_PUBLIC_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    TimeoutError,
    InvalidUpdateError,
    GraphBubbleUp,
    EmptyInputError,
    TaskNotFound,
)


def public_error(error: BaseException) -> dict[str, str]:
    """Return the part of a graph's exception that the owner of the run may see."""
    if isinstance(error, ServiceError):
        return {"error": type(error).__name__, "message": error.detail}
    message = "An internal error occurred"
    if isinstance(error, _PUBLIC_ERRORS):
        with contextlib.suppress(Exception):  # its `__str__` may raise too
            message = str(error)
    return {"error": type(error).__name__, "message": message}


def _encodable(value: Any, depth: int = 0) -> Any:  # noqa: ANN401, PLR0911  any JSON; a return for each type
    """Return a value that orjson encodes, without lone surrogates, with integers of any size, of limited depth."""
    if depth > _MAX_DEPTH:
        return None
    match value:
        case str():
            return _SURROGATES.sub("\ufffd", value)
        case int() if not -(2**63) <= value < 2**64:
            return orjson.Fragment(str(value))
        case Mapping():
            return {
                _encodable(key) if isinstance(key, str) else key: _encodable(item, depth + 1)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_encodable(item, depth + 1) for item in value]
        case BaseModel():
            return _encodable(value.model_dump(), depth)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _encodable(getattr(value, field.name), depth + 1) for field in fields(value)}
    return value


class JsonResponse(Response):
    """A JSON response. Bytes are sent as they are: they are JSON already."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Encode the body."""
        return content if isinstance(content, bytes) else dumps(content)
