"""Rules for the parameters of a request: those that an endpoint knows, and those that go together."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from tests.support.scripted_model.strictness import Body, Rule, Violation, forbidden_field, wrong_pattern


def parameters_are(known: Collection[str], words: str, **more: Any) -> Rule:
    """Refuse parameters other than `known`; `words` is the error, with the parameter as `{}`."""

    def rule(body: Body) -> Iterator[Violation]:
        for name in body.keys() - set(known):
            yield Violation(words.format(name), **({"param": name} | more))

    return rule


def tools_are_functions(body: Body) -> Iterator[Violation]:
    """Require named functions with a schema of an object, no two of one name; `tools` is not empty."""
    names: list[str] = []
    if body.get("tools") == []:
        words = "empty array. Expected an array with minimum length 1, but got an empty array instead."
        yield Violation(f"Invalid 'tools': {words}", "tools", "empty_array")
    for number, tool in enumerate(body.get("tools") or []):
        function = tool.get("function") or {}
        name = str(function.get("name") or "")
        names.append(name)
        if tool.get("type") != "function":
            yield Violation(f"Invalid value: '{tool.get('type')}'.", f"tools[{number}].type", "invalid_value")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
            yield wrong_pattern(f"tools[{number}].function.name")
        schema = function.get("parameters", {"type": "object"})
        if not isinstance(schema, dict) or schema.get("type") != "object":
            kind = schema.get("type") if isinstance(schema, dict) else schema
            words = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
            where = f"tools[{number}].function.parameters"
            yield Violation(f"Invalid schema for function '{name}': {words}", where, "invalid_function_parameters")
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield Violation(f"tools: Tool names must be unique. {name!r} is there twice.", "tools")


def tool_options_need_tools(body: Body) -> Iterator[Violation]:
    """Refuse `tool_choice` and `parallel_tool_calls` without `tools`, and the choice of a tool that is not there."""
    for option in ("tool_choice", "parallel_tool_calls"):
        if body.get(option) is not None and not body.get("tools"):
            words = f"Invalid value for '{option}': '{option}' is only allowed when 'tools' are specified."
            yield Violation(words, option)
    choice = body.get("tool_choice")
    names = [tool["function"]["name"] for tool in body.get("tools") or []]
    if isinstance(choice, dict) and choice.get("function", {}).get("name") not in names:
        yield Violation("Tool choice is not in 'tools' parameter.", "tool_choice")


def stream_options_need_a_stream(body: Body) -> Iterator[Violation]:
    """Refuse `stream_options` in requests for whole answers."""
    if body.get("stream_options") is not None and not body.get("stream"):
        yield Violation("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")


def strict_schemas_are_closed(body: Body) -> Iterator[Violation]:
    """Require of a strict schema that its objects allow no additional property and require each one they have."""
    response_format = body.get("response_format") or {}
    if response_format.get("type") == "json_schema":
        given = response_format.get("json_schema") or {}
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(given.get("name") or "")):
            yield wrong_pattern("response_format.json_schema.name")
        if given.get("strict"):
            for words in _open_objects(given.get("schema"), ()):
                message = f"Invalid schema for response_format '{given.get('name')}': {words}"
                yield Violation(message, "response_format")


def json_mode_is_announced(body: Body) -> Iterator[Violation]:
    """Require the word JSON in a message of a request for any JSON object."""
    kind = (body.get("response_format") or {}).get("type")
    if kind == "json_object" and "json" not in json.dumps(body["messages"]).lower():
        words = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        yield Violation(words, "messages")


def no_json_schema(body: Body) -> Iterator[Violation]:
    """Refuse a schema for the answer."""
    if (body.get("response_format") or {}).get("type") == "json_schema":
        yield Violation("This response_format type is unavailable now", code="invalid_request_error")


def _open_objects(schema: Any, context: tuple[str, ...]) -> Iterator[str]:  # noqa: ANN401  JSON
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            yield f"In context={context}, 'additionalProperties' is required to be supplied and to be false."
        for missing in schema.get("properties", {}).keys() - set(schema.get("required", [])):
            words = "'required' is required to be supplied and to be an array including every key in properties."
            yield f"In context={context}, {words} Missing '{missing}'."
    for group in ("properties", "$defs"):
        for name, inner in schema.get(group, {}).items():
            yield from _open_objects(inner, (*context, group, name))
    yield from _open_objects(schema.get("items"), (*context, "items"))
    for number, inner in enumerate(schema.get("anyOf", [])):
        yield from _open_objects(inner, (*context, "anyOf", str(number)))


def vllm_stream_options_need_a_stream(body: Body) -> Iterator[Violation]:
    """Refuse `stream_options` in requests for whole answers, in vLLM's words."""
    if body.get("stream_options") and not body.get("stream"):
        yield Violation("Stream options can only be defined when `stream=True`.", "stream_options")


def vllm_tools_are_used(body: Body) -> Iterator[Violation]:
    """Refuse an empty list of tools, and a choice without tools, in vLLM's words."""
    if body.get("tools") == []:
        words = "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely."
        yield Violation(words, "tools")
    if body.get("tool_choice") not in (None, "none") and body.get("tools") is None:
        yield Violation("When using `tool_choice`, `tools` must be set.", "tool_choice")


_MISTRAL_PARAMETERS = {
    *("model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed", "response_format"),
    *("tools", "tool_choice", "presence_penalty", "frequency_penalty", "n", "safe_prompt"),
    *("parallel_tool_calls", "reasoning_effort", "prompt_mode", "metadata", "prediction"),  # newer than that file
}
_MISTRAL_FIELDS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls", "prefix"},
    "tool": {"role", "content", "tool_call_id", "name"},
}


def mistral_fields_are_known(body: Body) -> Iterator[Violation]:
    """Refuse fields that Mistral's schema does not have, of the request and of its messages.

    The parameters are those of its client (mistralai/client-python, models/chatcompletionrequest.py): `stream_options`
    is not among them. The messages' fields are from memory.
    """
    for name in body.keys() - _MISTRAL_PARAMETERS:
        yield forbidden_field(name)
    for place, message in enumerate(body["messages"]):
        for name in message.keys() - _MISTRAL_FIELDS.get(message.get("role", ""), set(message)):
            yield forbidden_field("messages", place, message["role"], name)
