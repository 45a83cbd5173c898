"""Searches of LangGraph's API: pages by offset, a chosen order, and a selection of fields."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, String, func
from sqlalchemy.orm import Mapped

from project4_agent_api.core.bounded import Page
from project4_agent_api.core.schemas import Search

Query = TypeVar("Query", bound=Select[Any])


def paginate(
    query: Query, search: Search, sort_by: str, columns: Mapping[str, Mapped[Any]], tie_breaker: Mapped[UUID]
) -> Query:
    """Order a query, and limit it to a page and one more row, which shows whether there is another page.

    Args:
        columns: Columns to order by. Strings are compared without case.
        tie_breaker: A unique column that orders equal rows, so that pages neither skip nor repeat any.
    """
    column = cast("ColumnElement[Any]", columns[sort_by])
    key = func.lower(column) if isinstance(column.type, String) else column
    order = (key.asc(), tie_breaker.asc()) if search.sort_order == "asc" else (key.desc(), tie_breaker.desc())
    limit, offset = search.page()
    return query.order_by(*order).limit(limit + 1).offset(offset)


def trim_page(rows: Sequence[Any], search: Search, response: Response) -> Sequence[Any]:
    """Remove the extra row again, and set the headers that describe the next page. A page may be cut to fewer rows.

    `X-Pagination-Total` is what LangGraph's server sends: the rows so far, plus one if there are more.
    """
    limit, offset = search.page()
    page = rows[:limit]
    total = offset + len(page)
    if len(rows) > limit or (isinstance(rows, Page) and rows.cut):
        response.headers["X-Pagination-Next"] = str(total)
        total += 1
    response.headers["X-Pagination-Total"] = str(total)
    return page


def select_fields(read: type[BaseModel], rows: Sequence[Any], fields: Sequence[str] | None) -> list[BaseModel]:
    """Convert rows to models, with those of the selected fields that exist.

    The route needs `response_model_exclude_unset=True`.
    """
    items = [read.model_validate(row) for row in rows]
    if not fields:
        return items
    names = set(fields) & read.model_fields.keys()
    return [read.model_construct(_fields_set=names, **{name: getattr(item, name) for name in names}) for item in items]
