"""Keyset pagination: a cursor is the last id of a page, so inserted and deleted rows do not shift the next page."""

import base64
from collections.abc import Sequence
from typing import Annotated, Protocol, TypeVar
from uuid import UUID

from fastapi import Query


class HasId(Protocol):
    """A row with an id."""

    id: UUID


Row = TypeVar("Row", bound=HasId)


def decode_cursor(cursor: str) -> UUID:
    """Return the id in a cursor. Any text that matches the pattern of `PageCursor` is valid."""
    return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))


def encode_cursor(last: UUID) -> str:
    """Return the cursor of the page that follows an id."""
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def split_page(rows: Sequence[Row], limit: int) -> tuple[list[Row], str | None]:
    """Split the result of a query for `limit + 1` rows into a page and the cursor of the next one.

    Returns:
        At most `limit` rows, and None on the last page.
    """
    page = list(rows[:limit])
    return page, encode_cursor(page[-1].id) if len(rows) > limit else None


PageSize = Annotated[int, Query(ge=1, le=100, description="Maximum number of items in a page.")]
PageCursor = Annotated[
    str | None,
    Query(
        pattern="^[A-Za-z0-9_-]{22}$",  # 16 bytes in URL-safe base64
        description="`next_cursor` of the previous page; omit it for the first page.",
    ),
]
