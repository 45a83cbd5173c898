"""Render a stage's API reference from its OpenAPI document."""

from collections.abc import Iterator, Mapping
from typing import Any

from learn.language import Language, load_words
from learn.stages import Stage

_METHODS = "get", "post", "put", "patch", "delete"
_WORDS = load_words("reference")


def page(stage: Stage, language: Language) -> str:
    """Return the reference of a stage as Markdown."""
    openapi = stage.openapi()
    words = _WORDS[language]
    operations = [
        (operation.get("tags", [""])[0], method, path, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
        if method in _METHODS
    ]
    lines = [f"# {words['title'].format(number=stage.number)}", ""]
    lines += [words["lead"].format(number=stage.number, package=stage.package, count=len(operations)), ""]
    for tag in dict.fromkeys(tag for tag, *_ in operations):
        lines += [f"## {tag}", ""]
        for operation_tag, method, path, operation in operations:
            if operation_tag == tag:
                lines += _operation(method, path, operation, words)
    return "\n".join(lines)


def _operation(method: str, path: str, operation: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`"
    yield ""
    yield operation.get("description") or operation.get("summary", "")
    yield ""
    if parameters := operation.get("parameters"):
        yield f"| {words['name']} | {words['in']} | {words['type']} | {words['description']} |"
        yield "| --- | --- | --- | --- |"
        for parameter in parameters:
            required = f" ({words['required']})" if parameter.get("required") else ""
            cells = f"{parameter['in']}{required} | {_type(parameter.get('schema', {}))}"
            yield f"| `{parameter['name']}` | {cells} | {_cell(parameter.get('description', ''))} |"
        yield ""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"{words['body']}: {_type(content.get('schema', {}))} (`{media_type}`)"
        yield ""
    yield f"| {words['status']} | {words['response']} |"
    yield "| --- | --- |"
    for status, response in operation["responses"].items():
        kinds = ", ".join(_type(content.get("schema", {})) for content in response.get("content", {}).values())
        yield f"| {status} | {_cell(response['description'])}{f' – {kinds}' if kinds else ''} |"
    yield ""


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " \\| ".join(dict.fromkeys(_type(option) for option in schema[key]))
    if schema.get("type") == "array":
        return f"{_type(schema.get('items', {}))}[]"
    return f"`{schema.get('format') or schema.get('type') or schema.get('title', 'any')}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
