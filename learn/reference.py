"""Render a stage's API reference from its OpenAPI document."""

from collections.abc import Iterator, Mapping
from typing import Any

from learn.stages import Stage

_METHODS = "get", "post", "put", "patch", "delete"
_WORDS = {
    "en": {
        "title": "API of stage {number}",
        "lead": "The {count} operations of `{package}`, from its OpenAPI document. Try them at `/docs` of the running "
        "service. See also [what the stage teaches](../stages/stage-{number}.md).",
        "name": "name",
        "in": "in",
        "type": "type",
        "description": "description",
        "body": "Body",
        "status": "status",
        "response": "response",
        "required": "required",
    },
    "zh": {
        "title": "阶段 {number} 的接口",
        "lead": "由 `{package}` 的 OpenAPI 文档生成，共 {count} 个接口；接口说明保留代码中的英文原文。"
        "服务运行时可以在 `/docs` 里逐个试用；[这一阶段学什么](../stages/stage-{number}.md)。",
        "name": "名称",
        "in": "位置",
        "type": "类型",
        "description": "说明",
        "body": "请求体",
        "status": "状态码",
        "response": "响应",
        "required": "必填",
    },
}


def page(stage: Stage, language: str) -> str:
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
            return " \\| ".join(dict.fromkeys(_type(one) for one in schema[key]))
    if schema.get("type") == "array":
        return f"{_type(schema.get('items', {}))}[]"
    return f"`{schema.get('format') or schema.get('type') or schema.get('title', 'any')}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
