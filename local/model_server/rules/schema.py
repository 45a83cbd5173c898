"""Parsing a tool's parameters: the part of JSON Schema that tools use, without trusting its input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Schemas may be recursive, so reading is bounded in depth and breadth.
_DEEPEST = 2  # nested objects and arrays
_MOST_PROPERTIES = (64, 16, 16)  # of an object, by depth
_MOST_REFERENCES = 8  # in a chain


@dataclass(frozen=True)
class Parameter:
    """A property of a tool's parameters, with references and alternatives resolved.

    `kind` is string, number, integer, boolean, array or object; `items` describes the elements of an array,
    `properties` those of an object. `choices` are the values of an enum.
    """

    name: str
    kind: str
    description: str = ""
    format: str = ""
    required: bool = False
    choices: Sequence[Any] = ()
    default: Any = None
    has_default: bool = False
    items: "Parameter | None" = None
    properties: Sequence["Parameter"] = field(default=())


def parse_parameters(schema: object) -> Sequence[Parameter]:
    """Return the properties of a tool's `parameters`, in order; none if it is not an object schema."""
    root = schema if isinstance(schema, Mapping) else {}
    return _properties(_resolved(root, root), root, 0)


def _properties(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Sequence[Parameter]:
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, Mapping) or depth > _DEEPEST:
        return ()
    names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    listed = list(properties.items())[: _MOST_PROPERTIES[depth]]
    return [_parameter(str(name), value, root, depth, required=name in names) for name, value in listed]


def _parameter(name: str, schema: object, root: Mapping[str, Any], depth: int, *, required: bool) -> Parameter:
    outer = schema if isinstance(schema, Mapping) else {}
    inner = _resolved(outer, root)
    choices = inner["enum"] if isinstance(inner.get("enum"), list) else [inner["const"]] if "const" in inner else []
    kind = _kind(inner, choices)
    described = outer.get("description") or inner.get("description") or outer.get("title") or ""
    default = outer if "default" in outer else inner
    return Parameter(
        name=name,
        kind=kind,
        description=described if isinstance(described, str) else "",
        format=inner["format"] if isinstance(inner.get("format"), str) else "",
        required=required,
        choices=choices,
        default=default.get("default"),
        has_default="default" in default,
        items=_parameter(name, inner.get("items"), root, depth + 1, required=False)
        if kind == "array" and depth < _DEEPEST
        else None,
        properties=_properties(inner, root, depth + 1) if kind == "object" else (),
    )


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow references, and take the first alternative that is not null."""
    for _ in range(_MOST_REFERENCES):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            schema = _referred(reference, root)
            continue
        alternatives = next(
            (schema[key] for key in ("anyOf", "oneOf", "allOf") if isinstance(schema.get(key), list)), None
        )
        if alternatives is None or "properties" in schema:
            break
        usable = [
            alternative
            for alternative in alternatives
            if isinstance(alternative, Mapping) and alternative.get("type") != "null"
        ]
        if not usable:
            break
        schema = usable[0]
    return schema


def _referred(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/")[:_MOST_REFERENCES]:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _kind(schema: Mapping[str, Any], choices: Sequence[Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), None)
    if isinstance(kind, str) and kind in {"string", "number", "integer", "boolean", "array", "object"}:
        return kind
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    if choices and isinstance(choices[0], bool):
        return "boolean"
    if choices and isinstance(choices[0], int | float):
        return "number"
    return "string"
