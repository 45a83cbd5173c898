"""Conditions for the rows of assistants, threads and crons that a request may use.

With this service's own accounts, each statement is restricted to the rows of one owner. A project with authorization
handlers of its own decides otherwise: a handler returns a filter on the metadata, which applies to the rows of all the
project's users. `accounts/authorization.py` sets it for a request; without it, the owner's rows are visible.
"""

import json
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from uuid import UUID, uuid5

from sqlalchemy import ColumnElement, text

Resource = Literal["assistants", "threads", "crons"]
Filter = Mapping[str, Any]

_USERS = UUID("6a1c6f0e-5d7f-5b52-9a0b-6d0f7d6f2d11")
PROJECT_OWNER = uuid5(_USERS, "")  # of what all users of the project have in common; no identity is empty
_MAX_DEPTH = 2  # of `$or` and `$and`


def owner_of_identity(identity: str) -> UUID:
    """Return the owner of what a user of a project's own authentication creates: an id of version 5.

    Ids of accounts have version 7, so the two kinds never meet in one database.
    """
    return uuid5(_USERS, identity)


def is_project_user(owner_id: UUID) -> bool:
    """Return whether an owner is a user of a project's own authentication."""
    return owner_id.version == 5


# SQL: whether the owner in this column is a user of a project's own authentication.
PROJECT_USER = "substr({owner_id}::text, 15, 1) = '5'"


@dataclass(frozen=True)
class Access:
    """The rows of one resource that a request may use.

    Attributes:
        owner_id: Only the rows of this owner; None for those of all users of the project.
        filter: A filter on their metadata, in the form that LangGraph's authorization handlers return.
    """

    owner_id: UUID | None
    filter: Filter = field(default_factory=dict)

    def sql(self, resource: Resource, placeholder: str = "%({})s") -> tuple[str, dict[str, Any]]:
        """Return the condition as SQL, with its parameters.

        Args:
            placeholder: The form of a parameter, with `{}` for its name.

        Raises:
            TypeError, ValueError: if the filter is malformed.
        """
        rendered = _Rendering(f"{resource}.metadata", f"{resource}_access", placeholder)
        if self.owner_id is not None:
            owner = f"{resource}.owner_id = {rendered.add(self.owner_id)}"
        else:
            owner = PROJECT_USER.format(owner_id=f"{resource}.owner_id")
        return " AND ".join([owner, *rendered.conditions(self.filter, 0)]), rendered.parameters


class _Rendering:
    def __init__(self, column: str, prefix: str, placeholder: str) -> None:
        self._column = column
        self._prefix = prefix
        self._placeholder = placeholder
        self.parameters: dict[str, Any] = {}

    def add(self, value: Any) -> str:  # noqa: ANN401  any value of SQL
        name = f"{self._prefix}_{len(self.parameters)}"
        self.parameters[name] = value
        return self._placeholder.format(name)

    def conditions(self, filter_: Filter, depth: int) -> list[str]:
        if not isinstance(filter_, Mapping):
            raise TypeError("a filter has to be an object")
        return [self._condition(key, value, depth) for key, value in filter_.items()]

    def _condition(self, key: str, value: Any, depth: int) -> str:  # noqa: ANN401  any JSON
        if key in ("$or", "$and"):
            if depth >= _MAX_DEPTH or not isinstance(value, list) or len(value) < 2:
                raise ValueError(f"{key} takes a list of at least 2 filters, at most {_MAX_DEPTH} deep")
            groups = [" AND ".join(self.conditions(group, depth + 1)) or "true" for group in value]
            return "(" + f" {key[1:].upper()} ".join(f"({group})" for group in groups) + ")"
        if not isinstance(value, Mapping):
            return self._equals(key, value)
        if len(value) != 1:
            raise ValueError(f"{key!r} has to have one operator")
        ((operator, operand),) = value.items()
        if operator == "$eq":
            return self._equals(key, operand)
        if operator == "$contains":
            element = f"{self._column} -> CAST({self.add(key)} AS text)"
            wanted = operand if isinstance(operand, list | tuple) else [operand]
            return f"(jsonb_typeof({element}) = 'array' AND {element} @> {self._json(list(wanted))})"
        raise ValueError(f"there is no operator {operator!r}")

    def _equals(self, key: str, value: Any) -> str:  # noqa: ANN401  any JSON
        # The first condition uses the index on metadata; the second one is exact.
        contains = f"{self._column} @> {self._json({key: value})}"
        return f"({contains} AND {self._column} -> CAST({self.add(key)} AS text) = {self._json(value)})"

    def _json(self, value: Any) -> str:  # noqa: ANN401  any JSON
        return f"CAST({self.add(json.dumps(value, default=str))} AS jsonb)"


_accesses: ContextVar[Mapping[str, Access]] = ContextVar("accesses")


def set_accesses(accesses: Mapping[str, Access]) -> None:
    """Set the access of the current request to each resource."""
    _accesses.set(accesses)


def access_to(resource: Resource, owner_id: UUID) -> Access:
    """Return the access of the current request to a resource: by default, to the rows of the owner."""
    return _accesses.get({}).get(resource) or Access(owner_id)


def visible_rows(resource: Resource, owner_id: UUID) -> tuple[str, dict[str, Any]]:
    """Return the condition that a row of a table is visible to the current request, with its parameters."""
    return access_to(resource, owner_id).sql(resource)


def visible_clause(resource: Resource, owner_id: UUID) -> ColumnElement[bool]:
    """Return the same condition for SQLAlchemy."""
    condition, parameters = access_to(resource, owner_id).sql(resource, ":{}")
    clause: Any = text(f"({condition})").bindparams(**parameters)
    return cast("ColumnElement[bool]", clause)
