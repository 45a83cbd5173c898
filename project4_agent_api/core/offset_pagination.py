"""Searching as LangGraph's API does it: pages by offset, the wanted order, and the wanted fields only."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, String, func
from sqlalchemy.orm import Mapped

from project4_agent_api.core.schemas import Search

Query = TypeVar("Query", bound=Select[Any])


def paginate(query: Query, search: Search, sort_by: str, columns: Mapping[str, Mapped[Any]], tie: Mapped[UUID]) -> Query:
    """Order a query, and cut it to a page and one row more, which tells whether there is another.

    Args:
        query: What is searched.
        search: The page and the direction.
        sort_by: One of `columns`.
        columns: By which it can be ordered. Texts are, whatever their case.
        tie: A unique column. It decides between equals, so that pages neither skip nor repeat.
    """
    column = cast("ColumnElement[Any]", columns[sort_by])
    key = func.lower(column) if isinstance(column.type, String) else column
    order = (key.asc(), tie.asc()) if search.sort_order == "asc" else (key.desc(), tie.desc())
    limit, offset = search.page()
    return query.order_by(*order).limit(limit + 1).offset(offset)


def trim_page(rows: Sequence[Any], search: Search, response: Response) -> Sequence[Any]:
    """Take the one row more off again, and say in the headers whether there are more and from where.

    `X-Pagination-Total` is what LangGraph's server makes of it: the rows up to here, and one more where there are more.
    """
    limit, offset = search.page()
    page = rows[:limit]
    total = offset + len(page)
    if len(rows) > limit:
        response.headers["X-Pagination-Next"] = str(total)
        total += 1
    response.headers["X-Pagination-Total"] = str(total)
    return page


def select_fields(read: type[BaseModel], rows: Sequence[Any], fields: Sequence[str] | None) -> list[BaseModel]:
    """Show rows, or of each the wanted fields only. For an operation with `response_model_exclude_unset=True`."""
    shown = [read.model_validate(row) for row in rows]
    if not fields:
        return shown
    return [
        read.model_construct(_fields_set=set(fields), **{name: getattr(one, name) for name in fields}) for one in shown
    ]
