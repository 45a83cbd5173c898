"""Arguments of tool calls as endpoints write them: complete or not, wrapped, or followed by something else."""

import json
import re

_DECODER = json.JSONDecoder(strict=False)  # models write line breaks into strings, and LangChain takes them
_BEGINNING = re.compile(r"\s*\{\s*[^\s}]")
_FENCED = re.compile(r"```\w*\s*(.*?)\s*```", re.DOTALL)
_NONE = {"", "null", "None", "[]", '""', "{}"}  # PHP writes an empty object as a list
_MORE = re.compile(r"\}\s*[^\s,\]}]")  # outside a string, it follows the end of the object


def as_text(sent: object) -> str:
    """Return arguments, or a piece of them, as text: some servers send JSON."""
    if sent is None:
        return ""
    return sent if isinstance(sent, str) else json.dumps(sent, ensure_ascii=False)


def is_object(text: str) -> bool:
    """Return whether a text is a JSON object."""
    if not text.rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads(text, strict=False), dict)
    except (ValueError, RecursionError):
        return False


def begins_object(text: str) -> bool:
    """Return whether a text is certain to be the beginning of the arguments.

    `{}` is not: proxies of Anthropic's models send it before the arguments.
    """
    return _BEGINNING.match(text) is not None


def means_none(text: str) -> bool:
    """Return whether a text stands for no arguments."""
    return len(text) < 50 and "".join(text.split()) in _NONE


def without_more(text: str, addition: str) -> str:
    """Return the addition to a text up to the end of the object: some servers write it twice, or go on with a token."""
    if not _MORE.search(text[-1:] + addition):
        return addition
    whole = text + addition
    try:
        _, end = _DECODER.raw_decode(whole, len(whole) - len(whole.lstrip()))
    except (ValueError, RecursionError):
        return addition
    return whole[len(text) : end]


def unwrapped(text: str) -> str:
    """Return arguments that do not begin as an object as one, if they mean one; empty if there are none."""
    text = text.strip()
    if fenced := _FENCED.fullmatch(text):
        text = fenced[1]
    if means_none(text):
        return ""
    try:
        inner = json.loads(text, strict=False) if text.startswith('"') else None
    except ValueError:
        return text
    return inner if isinstance(inner, str) and is_object(inner) else text


def invalidating_suffix(text: str) -> str:
    """Return a suffix that makes arguments invalid: LangChain completes truncated JSON, and fails on other types."""
    open_, in_string, escaped = [], False, False
    for character in text:
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "{[":
            open_.append(character)
        elif character in "}]" and open_:
            open_.pop()
    string_end = ('"' if escaped else "") + '"' if in_string else ""
    return string_end + ("}" if open_[-1:] == ["["] else "]")
