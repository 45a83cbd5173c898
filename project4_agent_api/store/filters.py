"""What an item's value must be like, as conditions in SQL.

A filter says of each field what it must equal, or by operators what must hold: `{"n": {"$gt": 1, "$lte": 5}}`. A field
that is itself an object is gone into: `{"address": {"city": "Bonn"}}`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.errors import InvalidRequest

_MOST_CONDITIONS = 100
_ORDER = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_OPERATORS = ", ".join(["$eq", "$ne", *_ORDER])
# A field that is not there is as one that is null.
_AT = "coalesce(store.value #> %s::text[], 'null')"


def conditions_of(wanted: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    """Return the conditions and their parameters.

    Raises:
        InvalidRequest: if there is an operator that there is not, or more than anybody can mean.
    """
    found = list(_inside((), wanted))
    if len(found) > _MOST_CONDITIONS:
        raise InvalidRequest(f"A filter has {_MOST_CONDITIONS} conditions, at most.")
    return [condition for condition, _ in found], [parameter for _, parameters in found for parameter in parameters]


def _inside(path: Sequence[str], wanted: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for name, value in wanted.items():
        yield from _of_field([*path, name], value)


def _of_field(path: list[str], wanted: Any) -> Iterator[tuple[str, list[Any]]]:  # noqa: ANN401  any JSON
    if not isinstance(wanted, dict):
        yield f"{_AT} = %s::jsonb", [path, json.dumps(wanted)]
    elif any(key.startswith("$") for key in wanted):
        for operator, operand in wanted.items():
            yield _compared(path, operator, operand)
    else:
        yield f"jsonb_typeof({_AT}) = 'object'", [path]
        yield from _inside(path, wanted)


def _compared(path: list[str], operator: str, operand: Any) -> tuple[str, list[Any]]:  # noqa: ANN401  any JSON
    value = json.dumps(operand)
    if operator in {"$eq", "$ne"}:
        return f"{_AT} {'=' if operator == '$eq' else '<>'} %s::jsonb", [path, value]
    if operator not in _ORDER:
        raise InvalidRequest(f"{operator[:50]} is no operator of a filter. There are {_OPERATORS}.")
    if isinstance(operand, bool) or not isinstance(operand, int | float | str):
        raise InvalidRequest(f"{operator} compares with a number or a text.")
    # Of two values of different kinds none is the greater.
    same_kind = f"jsonb_typeof({_AT}) = jsonb_typeof(%s::jsonb)"
    return f"({same_kind} AND {_AT} {_ORDER[operator]} %s::jsonb)", [path, value, path, value]
