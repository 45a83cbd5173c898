"""A stage's API as a page: method, path, summary, parameters, body and answers, from its OpenAPI document."""

from collections.abc import Iterator, Mapping
from typing import Any

from learn.stages import Stage

_METHODS = "get", "post", "put", "patch", "delete"
_WORDS = {
    "en": {
        "title": "API of stage {number}",
        "lead": "From the OpenAPI document of `{package}`, {count} operations. `/docs` of the running service lets you "
        "try them; [what the stage teaches](../stages/stage-{number}.md).",
        "name": "name",
        "in": "in",
        "type": "type",
        "what": "what it is",
        "body": "Body",
        "status": "status",
        "answer": "answer",
        "required": "required",
    },
    "zh": {
        "title": "阶段 {number} 的接口",
        "lead": "由 `{package}` 的 OpenAPI 文档生成，共 {count} 个接口；接口说明保留代码中的英文原文。"
        "服务运行时可以在 `/docs` 里逐个试用；[这一阶段学什么](../stages/stage-{number}.md)。",
        "name": "名称",
        "in": "位置",
        "type": "类型",
        "what": "说明",
        "body": "请求体",
        "status": "状态码",
        "answer": "响应",
        "required": "必填",
    },
}


def page(stage: Stage, language: str) -> str:
    """Return the page of a stage, in Markdown."""
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
        for own, method, path, operation in operations:
            if own == tag:
                lines += _operation(method, path, operation, words)
    return "\n".join(lines)


def _operation(method: str, path: str, operation: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`"
    yield ""
    yield operation.get("description") or operation.get("summary", "")
    yield ""
    if parameters := operation.get("parameters"):
        yield f"| {words['name']} | {words['in']} | {words['type']} | {words['what']} |"
        yield "| --- | --- | --- | --- |"
        for one in parameters:
            required = f" ({words['required']})" if one.get("required") else ""
            kind = _type(one.get("schema", {}))
            yield f"| `{one['name']}` | {one['in']}{required} | {kind} | {_cell(one.get('description', ''))} |"
        yield ""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"{words['body']}: {_type(content.get('schema', {}))} (`{media_type}`)"
        yield ""
    yield f"| {words['status']} | {words['answer']} |"
    yield "| --- | --- |"
    for status, answer in operation["responses"].items():
        kinds = ", ".join(_type(content.get("schema", {})) for content in answer.get("content", {}).values())
        yield f"| {status} | {_cell(answer['description'])}{f' – {kinds}' if kinds else ''} |"
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
