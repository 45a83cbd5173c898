"""Answering from the results of tools."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.model_server.rules.messages import Message, message_text
from local.model_server.rules.passages import Passage, passages_in
from local.model_server.rules.quoting import Embed, best_quotes, no_answer, quoted_answer
from local.model_server.rules.text import is_chinese

_ERROR = re.compile(
    r"^\W{0,4}(?:error|exception|traceback|failed|failure|\w{0,40}(?:Error|Exception)\b"
    r"|tool .{0,60}(?:failed|error)|could not|cannot"
    r"|unable to|错误|失败|异常|出错)",
    re.IGNORECASE,
)
_TEXT_KEYS = ("text", "content", "page_content", "passage", "snippet", "body", "chunk")
_SHORT = 300  # maximum characters of a result within a sentence
_LONG = 1500  # from this length on, only sentences that answer the question are quoted
_MOST_LINES = 40


@dataclass(frozen=True)
class Result:
    """The result of a tool call."""

    name: str
    text: str


def results_at_end(messages: Sequence[Message]) -> Sequence[Result]:
    """Return the tool results at the end of a conversation, in order; none if the last message is not from a tool."""
    start = len(messages)
    while start and messages[start - 1].get("role") == "tool":
        start -= 1
    if start == len(messages):
        return []
    names: dict[str, str] = {}
    for message in messages[max(0, start - 20) : start]:
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else []:
            function = call.get("function") if isinstance(call, Mapping) else None
            if isinstance(function, Mapping) and isinstance(call.get("id"), str):
                names[call["id"]] = str(function.get("name") or "")
    return [
        Result(str(message.get("name") or names.get(str(message.get("tool_call_id")), "") or ""), message_text(message))
        for message in messages[start:]
    ]


async def answer_from_results(results: Sequence[Result], question: str, embed: Embed) -> str:
    """Describe results in the language of the question.

    Numbered passages are quoted from; a long text is shortened to the sentences that answer the question, or to its
    beginning; JSON becomes lines of `name: value`; errors are reported as such.
    """
    chinese = is_chinese(question)
    numbered: list[Passage] = []
    answers = []
    for result in results:
        found = passages_in(result.text)
        numbered += found
        if not found:
            answers.append(await _describe(result, question, embed, chinese=chinese))
    if numbered:
        best = await best_quotes(question, numbered, embed)
        answers.insert(0, quoted_answer(best) if best else no_answer(question))
    return "\n\n".join(answers)


async def _describe(result: Result, question: str, embed: Embed, *, chinese: bool) -> str:
    text = result.text.strip()
    name = f"`{result.name}`" if result.name else ("工具" if chinese else "The tool")
    if not text:
        return f"{name} 没有返回任何内容。" if chinese else f"{name} gave nothing back."
    value = _parsed(text)
    error = value.get("error") if isinstance(value, Mapping) else None
    if error or _ERROR.match(text):
        reason = error if isinstance(error, str) else text
        said = reason.strip().splitlines()[-1][:_SHORT] if reason.strip() else text[:_SHORT]
        return f"{name} 出错了：{said}" if chinese else f"{name} failed: {said}"
    if isinstance(value, Mapping | list):
        documents = _documents(value)
        if len(text) > _LONG and documents:
            return await _shorten("\n\n".join(documents), question, embed)
        return "\n".join(_lines(value)[:_MOST_LINES]) or (
            f"{name} 没有找到任何内容。" if chinese else f"{name} found nothing."
        )
    if isinstance(value, bool | int | float) or value is None or (len(text) <= _SHORT and not _is_sentence(text)):
        said = value if isinstance(value, str) else text
        return f"{name} 的结果是 {said}。" if chinese else f"The result of {name} is {said}."
    plain = value if isinstance(value, str) else text
    return plain if len(plain) <= _LONG else await _shorten(plain, question, embed)


async def _shorten(text: str, question: str, embed: Embed) -> str:
    best = await best_quotes(question, [Passage(1, text)], embed)
    return " ".join(quote.text for quote in best) or f"{text[:_LONG].rstrip()} …"


def _parsed(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text, or the text itself."""
    if len(text) > 1_000_000:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _is_sentence(text: str) -> bool:
    return text[-1] in ".!?。！？" or "\n" in text or len(text.split()) > 6 or (is_chinese(text) and len(text) > 8)


def _documents(value: Mapping[str, Any] | list[Any]) -> list[str]:
    entries = (
        value if isinstance(value, list) else next((entry for entry in value.values() if isinstance(entry, list)), [])
    )
    texts = []
    for entry in entries[:200]:
        if isinstance(entry, Mapping):
            texts += [entry[key] for key in _TEXT_KEYS if isinstance(entry.get(key), str)][:1]
    return texts


def _lines(value: Any, depth: int = 0) -> list[str]:  # noqa: ANN401  JSON
    """Return JSON as readable lines: `name: value`, and `- ` before the entries of a list."""
    indent = "  " * depth
    if depth > 4:
        return [f"{indent}…"]
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, entry in list(value.items())[:_MOST_LINES]:
            label = str(key).replace("_", " ")
            if isinstance(entry, Mapping | list) and entry:
                lines += [f"{indent}{label}:", *_lines(entry, depth + 1)]
            else:
                lines.append(f"{indent}{label}: {_scalar(entry)}")
    elif isinstance(value, list):
        for entry in value[:_MOST_LINES]:
            if isinstance(entry, Mapping) and entry:
                inner = _lines(entry, depth + 1)
                lines += [f"{indent}- {inner[0].strip()}", *inner[1:]]
            else:
                lines.append(f"{indent}- {_scalar(entry)}")
    else:
        lines.append(f"{indent}{_scalar(value)}")
    return lines[:_MOST_LINES]


def _scalar(value: Any) -> str:  # noqa: ANN401  JSON
    if isinstance(value, str):
        return value[:_LONG]
    return json.dumps(value, ensure_ascii=False)[:_LONG]
