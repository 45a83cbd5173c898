"""Translate a search's filter on item values to SQL conditions.

A filter maps each field to the value that it must equal, or to operators: `{"n": {"$gt": 1, "$lte": 5}}`. An object
without operators filters the fields inside: `{"address": {"city": "Bonn"}}`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.errors import InvalidRequest

_MAX_CONDITIONS = 100
_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_OPERATORS = ", ".join(["$eq", "$ne", *_COMPARISONS])
_FIELD = "coalesce(store.value #> %s::text[], 'null')"  # a missing field equals null


def filter_conditions(filter_: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    """Return a filter's conditions and their parameters.

    Raises:
        InvalidRequest: if the filter has an unknown operator, an operand of the wrong type, or too many conditions.
    """
    pairs = list(_object_conditions((), filter_))
    if len(pairs) > _MAX_CONDITIONS:
        raise InvalidRequest(f"A filter can have at most {_MAX_CONDITIONS} conditions.")
    return [condition for condition, _ in pairs], [parameter for _, parameters in pairs for parameter in parameters]


def _object_conditions(path: Sequence[str], filter_: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for name, value in filter_.items():
        yield from _field_conditions([*path, name], value)


def _field_conditions(path: list[str], filter_: Any) -> Iterator[tuple[str, list[Any]]]:  # noqa: ANN401  any JSON
    if not isinstance(filter_, dict):
        yield f"{_FIELD} = %s::jsonb", [path, json.dumps(filter_)]
    elif any(key.startswith("$") for key in filter_):
        for operator, operand in filter_.items():
            yield _comparison(path, operator, operand)
    else:
        yield f"jsonb_typeof({_FIELD}) = 'object'", [path]
        yield from _object_conditions(path, filter_)


def _comparison(path: list[str], operator: str, operand: Any) -> tuple[str, list[Any]]:  # noqa: ANN401  any JSON
    value = json.dumps(operand)
    if operator in {"$eq", "$ne"}:
        return f"{_FIELD} {'=' if operator == '$eq' else '<>'} %s::jsonb", [path, value]
    if operator not in _COMPARISONS:
        raise InvalidRequest(f"{operator[:50]} is not a filter operator. The operators are {_OPERATORS}.")
    if isinstance(operand, bool) or not isinstance(operand, int | float | str):
        raise InvalidRequest(f"{operator} requires a number or a string.")
    # Values of different types are not comparable: neither is greater.
    same_type = f"jsonb_typeof({_FIELD}) = jsonb_typeof(%s::jsonb)"
    return f"({same_type} AND {_FIELD} {_COMPARISONS[operator]} %s::jsonb)", [path, value, path, value]
