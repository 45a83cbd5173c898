"""Repeat a call without an optional parameter that the endpoint refuses, and leave it out of later calls."""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeVar

import openai
from loguru import logger

from shared.models.refusals import Refusal, refusal_of
from shared.models.signs import Kind

Body = dict[str, Any]
Change = Callable[[Body], None]
Result = TypeVar("Result")

# Without them a call means the same, or nearly: the model's defaults apply. Never messages, tools, model or stream.
_OPTIONAL = {
    "dimensions",  # the length of the vectors is checked
    "encoding_format",
    "frequency_penalty",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream_options",
    "temperature",
    "tool_choice",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
}
_SPELLINGS = {"max_completion_tokens": "max_tokens", "max_tokens": "max_completion_tokens"}
_SCHEMA = "response_format=json_schema"


class ParameterAdapter:
    """Sends calls in the form that the endpoint takes, which it learns from its refusals.

    Args:
        extra: Fields of every request, which an operator has set; None removes a field. They are never left out.
        by_model: Further fields of the requests to a model.
    """

    def __init__(self, extra: Mapping[str, Any], by_model: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._extra = extra
        self._by_model = by_model or {}
        self._changes: dict[str, dict[str, Change]] = {}  # by model, then by parameter

    async def call(self, body: Body, send: Callable[[Body], Awaitable[Result]]) -> Result:
        """Send a request; repeat it at once for each optional parameter that the endpoint refuses, once for each.

        Raises:
            openai.APIError: as `send` does, if nothing can be left out; `refusal` is its classification.
        """
        model = str(body["model"])
        fixed = {**self._extra, **self._by_model.get(model, {})}
        body = {name: value for name, value in {**body, **fixed}.items() if name not in fixed or value is not None}
        for change in list(self._changes.get(model, {}).values()):
            change(body)
        tried: set[str] = set()
        while True:
            try:
                return await send(body)
            except openai.APIError as error:
                refusal = refusal_of(error, body)
                if refusal.parameter in fixed or (found := _change(refusal, body, tried)) is None:
                    error.refusal = refusal  # type: ignore[attr-defined]  # read by `shared.models.errors`
                    raise
            name, change = found
            tried.add(name)
            body = dict(body)
            change(body)
            if refusal.unsupported:
                self._remember(model, name, change)
            else:  # a refused value, such as a temperature that is too high, says nothing about other calls
                logger.info("{}: repeated without {}, whose value is refused", model, name)

    def _remember(self, model: str, name: str, change: Change) -> None:
        changes = self._changes.setdefault(model, {})
        if name not in changes:
            logger.warning("{} does not support the parameter {}: later calls avoid it", model, name)
            changes[name] = change


def _change(refusal: Refusal, body: Body, tried: Collection[str]) -> tuple[str, Change] | None:
    """Return the name of a change that may make a refused request acceptable, and the change.

    None if there is none that has not been tried and that keeps what the request means.
    """
    name = refusal.parameter
    if refusal.kind is not Kind.PARAMETER or name not in _OPTIONAL or name not in body or name in tried:
        return None
    if name == "tool_choice" and body[name] == "none":
        return None  # without it the model may call tools
    if name == "response_format" and body[name].get("type") == "json_schema":
        return _SCHEMA, _loosen_schema
    other = _SPELLINGS.get(name)
    if other and refusal.unsupported and other not in tried:
        return name, partial(_rename, name, other)
    return name, partial(_drop, name)


def _drop(name: str, body: Body) -> None:
    if name != "response_format" or body.get(name, {}).get("type") != "json_schema":
        body.pop(name, None)


def _rename(name: str, other: str, body: Body) -> None:
    if name in body:
        body.setdefault(other, body.pop(name))


def _loosen_schema(body: Body) -> None:
    """Ask for any JSON object, with the schema in the prompt: the caller validates the answer in any case."""
    wanted = body.get("response_format") or {}
    if wanted.get("type") != "json_schema":
        return
    schema = json.dumps(wanted["json_schema"].get("schema", {}), ensure_ascii=False)
    instruction = f"Answer with one JSON object that matches this JSON schema, and nothing else:\n{schema}"
    body["response_format"] = {"type": "json_object"}
    first, *others = body["messages"]
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        body["messages"] = [first | {"content": f"{first['content']}\n\n{instruction}"}, *others]
    else:
        body["messages"] = [{"role": "system", "content": instruction}, first, *others]
