"""Filters on documents: tags, types, dates and metadata, as one SQL condition."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

Value = str | float | bool
_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True)
class Range:
    """Limits of a value: numbers, or texts such as dates in ISO 8601, compared by code points."""

    gt: str | float | None = None
    gte: str | float | None = None
    lt: str | float | None = None
    lte: str | float | None = None

    def limits(self) -> Iterator[tuple[str, str | float]]:
        """Yield the operators in SQL, with their limits."""
        for name, operator in _OPERATORS.items():
            if (limit := getattr(self, name)) is not None:
                yield operator, limit


@dataclass(frozen=True)
class DocumentFilter:
    """The documents that a search covers; all conditions apply.

    Attributes:
        tags: A document has at least one of them.
        metadata: By name, the value, the values of which it has one, or the range of the value.
    """

    tags: Sequence[str] = ()
    collection_ids: Sequence[UUID] = ()
    media_types: Sequence[str] = ()
    created_from: datetime | None = None
    created_before: datetime | None = None
    metadata: Mapping[str, Value | Sequence[Value] | Range] = field(default_factory=dict)

    def condition(self) -> tuple[str, dict[str, Any]]:
        """Return the condition on a row of `documents`, without any value in it, and its parameters."""
        parts: list[str] = []
        values: dict[str, Any] = {}
        if self.tags:
            parts.append("tags && CAST(:filter_tags AS text[])")
            values["filter_tags"] = list(self.tags)
        if self.collection_ids:
            parts.append("collection_id = ANY(:filter_collections)")
            values["filter_collections"] = list(self.collection_ids)
        if self.media_types:
            parts.append("media_type = ANY(:filter_media_types)")
            values["filter_media_types"] = list(self.media_types)
        if self.created_from is not None:
            parts.append("created_at >= :filter_created_from")
            values["filter_created_from"] = self.created_from
        if self.created_before is not None:
            parts.append("created_at < :filter_created_before")
            values["filter_created_before"] = self.created_before
        for number, (name, wanted) in enumerate(self.metadata.items()):
            condition, more = _metadata_condition(f"filter_{number}", name, wanted)
            parts.append(condition)
            values |= more
        return " AND ".join(parts), values


def _metadata_condition(key: str, name: str, wanted: Value | Sequence[Value] | Range) -> tuple[str, dict[str, Any]]:
    if not isinstance(wanted, Range):
        options = wanted if isinstance(wanted, Sequence) and not isinstance(wanted, str) else [wanted]
        documents = [json.dumps({name: option}) for option in options]
        return f"metadata @> ANY(CAST(:{key} AS jsonb[]))", {key: documents}
    parts: list[str] = []
    values: dict[str, Any] = {}
    for place, (operator, limit) in enumerate(wanted.limits()):
        is_text = isinstance(limit, str)
        value = f"metadata ->> :{key}_name"
        kind, compared = ("string", f'({value}) COLLATE "C"') if is_text else ("number", f"CAST({value} AS numeric)")
        # CASE, because PostgreSQL may evaluate the parts of AND in any order.
        parts.append(
            f"CASE WHEN jsonb_typeof(metadata -> :{key}_name) = '{kind}'"
            f" THEN {compared} {operator} CAST(:{key}_{place} AS {'text' if is_text else 'numeric'}) ELSE false END"
        )
        values |= {f"{key}_name": name, f"{key}_{place}": limit}
    return " AND ".join(parts) or "true", values
