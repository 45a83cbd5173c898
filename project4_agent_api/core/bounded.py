"""Answers that are bounded by bytes, and whose JSON is passed on as PostgreSQL sends it.

Rows are read one by one until they take as many bytes as an answer may have; at least one row is returned. The query
is cancelled then. Large answers are encoded in parts, so that the event loop serves others in between.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, cast

from psycopg import AsyncConnection
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from project4_agent_api.core.postgres import Parameters
from project4_agent_api.core.serialization import EncodedJson, dumps

MAX_BYTES = 16 * 1024 * 1024  # of the rows of a page
_PAUSE_BYTES = 256 * 1024  # encoded without a pause
_LEVELS = 3  # whose parts are encoded one by one: a state, its values, and their messages
_FIRST_ROWS, _MAX_ROWS = 20, 100  # that a page of models reads at once

Item = TypeVar("Item")


class Page(list[Item]):
    """Rows of a query.

    Attributes:
        size: Total bytes.
        cut: Whether more rows were left out because the page would have been too large.
    """

    size = 0
    cut = False

    def add(self, item: Item, size: int, max_bytes: int) -> bool:
        """Add a row, unless the page would be too large. Return whether it was added."""
        self.cut = bool(self) and self.size + size > max_bytes
        if not self.cut:
            self.append(item)
            self.size += size
        return not self.cut


class _EncodedLoader(Loader):
    def load(self, data: Buffer) -> EncodedJson:
        return EncodedJson(bytes(data))


async def fetch_page(
    connection: AsyncConnection[Any], statement: str, parameters: Parameters, max_bytes: int = MAX_BYTES
) -> Page[dict[str, Any]]:
    """Return the first rows of a query, with JSON columns as `EncodedJson`."""
    page: Page[dict[str, Any]] = Page()
    async with connection.cursor() as cursor:
        cursor.adapters.register_loader("jsonb", _EncodedLoader)
        stream = cast("AsyncGenerator[dict[str, Any]]", cursor.stream(statement, parameters))
        async with aclosing(stream) as rows:
            async for row in rows:
                if not page.add(row, sum(map(_size, row.values())), max_bytes):
                    break
    return page


def _size(value: object) -> int:
    if isinstance(value, EncodedJson):
        return len(value.encoded)
    return len(value) if isinstance(value, str) else 50


async def fetch_models(
    session: AsyncSession, query: Select[Any], limit: int, offset: int, max_bytes: int = MAX_BYTES
) -> Page[Any]:
    """Return the first rows of an ordered query as models, a few at a time.

    Args:
        session: For reading. Its transaction ends.
    """
    page: Page[Any] = Page()
    step = _FIRST_ROWS
    if limit > step:  # several statements see the rows of one moment, so that none is skipped or repeated
        await session.commit()
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    while len(page) < limit:
        amount = min(step, limit - len(page))
        rows = (await session.scalars(query.limit(amount).offset(offset + len(page)))).all()
        for row in rows:
            if not page.add(row, len(dumps(row.model_dump())), max_bytes):
                return page
        if len(rows) < amount:
            break
        step = min(2 * step, _MAX_ROWS)
    return page


async def encode_list(items: Iterable[Any]) -> bytes:
    """Return a list as JSON. Its items are encoded one by one, with pauses for the event loop."""
    return await _join(_encode_items(items, _LEVELS))


async def encode_object(value: Mapping[str, Any]) -> bytes:
    """Return an object as JSON. Its parts, and theirs, are encoded one by one, with pauses for the event loop."""
    return await _join(_encode(dict(value), _LEVELS))


async def _join(parts: Iterable[bytes]) -> bytes:
    joined: list[bytes] = []
    unpaused = 0
    for part in parts:
        joined.append(part)
        unpaused += len(part)
        if unpaused > _PAUSE_BYTES:
            unpaused = 0
            await asyncio.sleep(0)
    return b"".join(joined)


def _encode(value: Any, levels: int) -> Iterator[bytes]:  # noqa: ANN401  any JSON
    if isinstance(value, EncodedJson):
        yield value.encoded
    elif levels and isinstance(value, dict) and all(type(name) is str for name in value):
        separator = b"{"
        for name, part in value.items():
            yield separator + dumps(name) + b":"
            yield from _encode(part, levels - 1)
            separator = b","
        yield b"}" if value else b"{}"
    elif levels and isinstance(value, list):
        yield from _encode_items(value, levels - 1)
    else:
        yield dumps(value)


def _encode_items(items: Iterable[Any], levels: int) -> Iterator[bytes]:
    separator = b"["
    for item in items:
        yield separator
        yield from _encode(item, levels)
        separator = b","
    yield b"]" if separator == b"," else b"[]"


def next_offset(page: Sequence[Any], offset: int) -> dict[str, str]:
    """Return the header with the offset of the next page, if this one was cut."""
    return {"X-Pagination-Next": str(offset + len(page))} if isinstance(page, Page) and page.cut else {}
