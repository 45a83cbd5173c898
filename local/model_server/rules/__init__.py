"""Rules for quoting from passages, summaries and calling tools, which a model of 135 million parameters does badly.

The rules are independent of particular prompts and tools. They replace a language model well enough to try out a
system, but do not reason, do not resolve "it" or "there" from earlier messages, and quote whole sentences.
"""

import json
import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.model_server.rules.arguments import fill
from local.model_server.rules.messages import Message, last_user_text, message_text
from local.model_server.rules.passages import find_passages
from local.model_server.rules.quoting import Embed, best_quotes, no_answer, quoted_answer
from local.model_server.rules.results import Result, answer_from_results, results_at_end
from local.model_server.rules.summary import summarize, text_to_summarize
from local.model_server.rules.text import terms
from local.model_server.rules.tool_choice import Tool, choose_tool, parse_tools

__all__ = ["KINDS", "MODEL", "Embed", "RulesReply", "ToolCall", "answer_by_rules"]

MODEL = "local-rules"
KINDS = frozenset({"passages", "summaries", "tools"})  # of requests that the rules can answer

# Separators of two requests in a message: "what is 2*3, and remember it".
_AND_THEN = re.compile(
    r"[,;.]?\s{1,3}(?:and then|then|and also|and|after that|afterwards)\s{1,3}|[,;]\s{1,3}"
    r"|[，；。,;]\s{0,3}(?:然后|接着|并且|并|再|同时)?|然后|接着|并且",
    re.IGNORECASE,
)
_REFERS_BACK = re.compile(r"\b(?:it|that|this|the (?:result|answer|output))\b|结果|答案|它|这个", re.IGNORECASE)
_MOST_CLAUSES = 6


@dataclass(frozen=True)
class ToolCall:
    """A tool call for the client. `arguments` is a JSON object as text, as in OpenAI's API."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class RulesReply:
    """An answer: either text (`content`) or tool calls (then `content` is None)."""

    content: str | None
    tool_calls: Sequence[ToolCall] = ()


async def answer_by_rules(
    request: Mapping[str, Any], embed: Embed, kinds: Collection[str] = KINDS
) -> RulesReply | None:
    """Answer a chat completion by rules, if they apply.

    In this order: describe tool results at the end of the conversation; summarize an enclosed text; make a call that
    `tool_choice` requires; quote from numbered passages; call the tool that the message asks for. Two requests for
    different tools in one message ("what is 2*3, and remember it") lead to two calls, one after the other. Not
    supported: parallel calls, a third step that depends on the second result, choosing a tool by an earlier message.

    Args:
        request: A validated body of OpenAI's `/v1/chat/completions`.
        embed: Returns unit-length e5 vectors for up to about seventy texts with the prefixes `query: ` and `passage: `.
        kinds: The kinds of requests to answer.

    Returns:
        None if the language model should answer: free text, or a `response_format` other than text.

    Raises:
        Exception: only what `embed` raises.
    """
    form = request.get("response_format")
    messages = [message for message in request.get("messages") or [] if isinstance(message, Mapping)]
    if not messages or (isinstance(form, Mapping) and form.get("type", "text") != "text"):
        return None
    tools, required = _allowed_tools(request)
    results = results_at_end(messages)
    if "tools" not in kinds and (tools or results):
        return None
    if results:
        return await _after_results(results, messages, tools, embed)
    if "summaries" in kinds and not tools and (summary := summarize(text_to_summarize(messages))):
        return RulesReply(summary)
    if ("passages" not in kinds and not tools) or messages[-1].get("role") == "assistant":
        return None
    return await _answer_user(messages, tools, embed, required=required)


async def _answer_user(
    messages: Sequence[Message], tools: Sequence[Tool], embed: Embed, *, required: bool
) -> RulesReply | None:
    prompt = find_passages(messages)
    question = prompt.question if prompt else last_user_text(messages)
    if required and tools:
        tool = tools[0] if len(tools) == 1 else await choose_tool(question, tools, embed, must_choose=True)
        if tool is not None:
            return _call(tool, fill(tool.parameters, question, best_effort=True).arguments)
    if prompt and (quotes := await best_quotes(question, prompt.passages, embed)):
        return RulesReply(quoted_answer(quotes))
    if (call := await _first_call(question, messages, tools, embed)) is not None:
        return call
    return RulesReply(no_answer(question)) if prompt else None


async def _after_results(
    results: Sequence[Result], messages: Sequence[Message], tools: Sequence[Tool], embed: Embed
) -> RulesReply:
    message = last_user_text(messages)
    if (second := await _second_call(message, messages, results, tools, embed)) is not None:
        return second
    prompt = find_passages(messages)
    return RulesReply(await answer_from_results(results, prompt.question if prompt else message, embed))


def _allowed_tools(request: Mapping[str, Any]) -> tuple[Sequence[Tool], bool]:
    """Return the tools that may be called, and whether a call is required."""
    tools, choice = parse_tools(request), request.get("tool_choice")
    if choice == "none":
        return (), False
    if isinstance(choice, Mapping):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else None
        return [tool for tool in tools if tool.name == name], True
    return tools, choice == "required"


async def _first_call(
    message: str, messages: Sequence[Message], tools: Sequence[Tool], embed: Embed
) -> RulesReply | None:
    """Call the tool that the message asks for, or that its first clause asks for."""
    if not tools or not message.strip():
        return None
    tool = await choose_tool(message, tools, embed)
    if tool is None:
        return None
    clauses = _clauses(message)
    if len(clauses) > 1:
        first = await choose_tool(clauses[0], tools, embed)
        if first is not None and first.name != tool.name and not fill(first.parameters, clauses[0]).missing:
            tool, message = first, clauses[0]
    filled = fill(tool.parameters, message)
    if filled.missing:
        return None
    if earlier := _result_of(tool, filled.arguments, messages):
        return RulesReply(await answer_from_results([earlier], message, embed))
    return _call(tool, filled.arguments)


async def _second_call(
    message: str, messages: Sequence[Message], results: Sequence[Result], tools: Sequence[Tool], embed: Embed
) -> RulesReply | None:
    """Call the tool of a later clause of the message, if it has not been called since."""
    clauses = _clauses(message)
    if len(clauses) < 2 or not tools:
        return None
    called = {name for name, _, _ in _calls_since_user(messages)}
    left = [tool for tool in tools if tool.name not in called]
    for clause in clauses[1:_MOST_CLAUSES]:
        tool = await choose_tool(clause, tools, embed) if left and len(terms(clause)) > 0 else None
        if tool is None or tool.name in called:
            continue
        # Backslashes are escapes in a replacement.
        outcome = results[-1].text.strip()[:500].replace("\\", r"\\")
        filled = fill(tool.parameters, _REFERS_BACK.sub(outcome, clause, count=1))
        if not filled.missing:
            return _call(tool, filled.arguments)
    return None


def _clauses(message: str) -> Sequence[str]:
    if len(message) > 500 or "```" in message:
        return [message]
    return [clause.strip() for clause in _AND_THEN.split(message) if clause.strip()]


def _call(tool: Tool, arguments: Mapping[str, Any]) -> RulesReply:
    call = ToolCall(f"call_{uuid.uuid4().hex[:24]}", tool.name, json.dumps(arguments, ensure_ascii=False, default=str))
    return RulesReply(None, (call,))


def _calls_since_user(messages: Sequence[Message]) -> list[tuple[str, object, str]]:
    """Return the calls made since the last user message: name, arguments, id."""
    start = max((i for i, message in enumerate(messages) if message.get("role") == "user"), default=0)
    return [call for message in messages[start:] for call in _calls_of(message)]


def _calls_of(message: Message) -> list[tuple[str, object, str]]:
    calls = message.get("tool_calls")
    found = []
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            written = function.get("arguments")
            try:
                arguments = json.loads(written) if isinstance(written, str) else written
            except (ValueError, RecursionError):
                arguments = None
            found.append((str(function.get("name")), arguments, str(call.get("id"))))
    return found


def _result_of(tool: Tool, arguments: Mapping[str, Any], messages: Sequence[Message]) -> Result | None:
    """Return the result of an identical call since the last answer of the assistant, if there was one.

    Some agents repeat the question in a new user message if a result did not help; another call would loop forever.
    """
    wanted = None
    for message in reversed(messages):
        if message.get("role") == "assistant" and not message.get("tool_calls") and message_text(message).strip():
            break
        for name, given, identity in _calls_of(message):
            if name == tool.name and given == arguments:
                wanted = identity
    for message in messages:
        if wanted is not None and message.get("role") == "tool" and str(message.get("tool_call_id")) == wanted:
            return Result(tool.name, message_text(message))
    return None
