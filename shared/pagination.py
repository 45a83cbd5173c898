"""Keyset pages: a cursor is the id after which the next page begins, so rows that come and go move nothing."""

import base64
from collections.abc import Sequence
from typing import Annotated, Protocol, TypeVar
from uuid import UUID

from fastapi import Query


class HasId(Protocol):
    """A row."""

    id: UUID


Row = TypeVar("Row", bound=HasId)


def decode_cursor(cursor: str) -> UUID:
    """Return the id that a cursor stands for. Any text of a cursor's form stands for one."""
    return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))


def encode_cursor(last: UUID) -> str:
    """Return the cursor of the page after an id."""
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def split_page(rows: Sequence[Row], limit: int) -> tuple[list[Row], str | None]:
    """Split what a query with `limit + 1` rows has found into a page and the cursor of the next.

    Returns:
        At most `limit` rows; the cursor is None where there are no more.
    """
    page = list(rows[:limit])
    return page, encode_cursor(page[-1].id) if len(rows) > limit else None


PageSize = Annotated[int, Query(ge=1, le=100, description="Items of a page, at most.")]
PageCursor = Annotated[
    str | None,
    Query(
        pattern="^[A-Za-z0-9_-]{22}$",  # 16 bytes in base64, for URLs
        description="`next_cursor` of the page before; none for the first.",
    ),
]
