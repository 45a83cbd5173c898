"""Assemble tool calls from fragments with or without an index or an id, or from whole calls.

Each call gets an index and an id of the service's own. Endpoints send ids that are missing, empty, or the same for two
calls, so neither a result nor an approval can rely on them.
"""

import re
import secrets
import string
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from shared.models.tool_arguments import (
    as_text,
    begins_object,
    invalidating_suffix,
    is_object,
    means_none,
    unwrapped,
    without_more,
)

_ALPHABET = string.ascii_letters + string.digits
_ID_LENGTH = 9  # Mistral takes exactly this form, the others any
# The namespaces of gpt-oss, Kimi and Gemini, and what parsers leave at a name: Kimi's number, gpt-oss's next token.
_DECORATED_NAME = re.compile(r"\s*(?:functions?[.:]|default_api[.:])?(.+?)(?::\d+|\s*<\|.*)?\s*", re.DOTALL)
# Of a call; `provider_fields` sends them back.
CALL_FIELDS = ("extra_content", "provider_specific_fields", "thought_signature")


def new_call_id(taken: Collection[str | None]) -> str:
    """Return a random id for a call, other than those that are taken."""
    while (new := "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))) in taken:
        pass
    return new


@dataclass
class AssembledCall:
    """A call as far as it has arrived.

    Attributes:
        sent_index: The endpoint's index, if any.
        sent_id: The endpoint's id, if any.
        arguments: JSON, or the beginning of it.
        fields: Fields that the endpoint wants back.
        announced: Whether a delta of the call was returned.
        passed_on: Number of the arguments' characters that deltas have. None before it is certain that they begin.
    """

    index: int
    id: str
    sent_index: int | None
    sent_id: str | None
    name: str = ""
    arguments: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    announced: bool = False
    passed_on: int = 0

    def deltas(self, name: str, *, last: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the additions as a delta in OpenAI's form, with the id in the first one; none without additions.

        Args:
            name: The addition to the name.
            last: Whether nothing follows.
        """
        certain = last or self.passed_on or begins_object(self.arguments)
        arguments = self.arguments[self.passed_on :] if certain else ""
        if not name and not arguments:
            return
        self.passed_on += len(arguments)
        first, self.announced = not self.announced, True
        function = {"name": name or None, "arguments": arguments}
        yield {"index": self.index, "id": self.id if first else None, "type": "function", "function": function}

    def whole(self) -> dict[str, Any]:
        """Return the whole call in OpenAI's form."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments or "{}"},
        }


@dataclass(frozen=True)
class _Fragment:
    index: int | None
    id: str | None
    name: str
    arguments: str
    fields: dict[str, Any]


class ToolCallAssembler:
    """Assembles the calls of one answer.

    Args:
        taken_ids: Ids that the thread's calls have already.
        tool_names: Names of the tools that the model can call.
    """

    def __init__(self, taken_ids: Collection[str], tool_names: Collection[str]) -> None:
        self.calls: list[AssembledCall] = []
        self._taken = set(taken_ids)
        self._names = frozenset(tool_names)

    def add(self, sent: object) -> list[dict[str, Any]]:
        """Add a value of `tool_calls`, of a chunk or a whole message; return the deltas that it adds."""
        touched: set[int] = set()
        deltas: list[dict[str, Any]] = []
        fragments = list(self._fragments(sent))
        for place, fragment in enumerate(fragments):
            call = self._find(fragment, touched, place if len(fragments) > 1 else None)
            if call is None:
                call = AssembledCall(len(self.calls), self._new_id(), fragment.index, fragment.id)
                self.calls.append(call)
            touched.add(call.index)
            call.sent_id = call.sent_id or fragment.id
            call.fields |= fragment.fields
            call.name += (name := self._more_of_name(call, fragment.name))
            _add_arguments(call, fragment)
            deltas += call.deltas(name)
        return deltas

    def finish(self) -> list[dict[str, Any]]:
        """Drop incomplete calls, and invalidate arguments that are no JSON object; return the deltas."""
        deltas: list[dict[str, Any]] = []
        for call in self.calls:
            if not call.passed_on:
                call.arguments = unwrapped(call.arguments)
            call.name += (name := "" if call.name or not call.arguments else "unknown")
            if call.arguments and not is_object(call.arguments):
                call.arguments += invalidating_suffix(call.arguments)
            deltas += call.deltas(name, last=True)
        self.calls = [call for call in self.calls if call.name]
        return deltas

    @property
    def complete(self) -> bool:
        """Whether there are calls, and the arguments of each are a JSON object or absent."""
        return bool(self.calls) and all(not call.arguments or is_object(call.arguments) for call in self.calls)

    def _new_id(self) -> str:
        new = new_call_id(self._taken)
        self._taken.add(new)
        return new

    def _find(self, fragment: _Fragment, touched: Collection[int], place: int | None) -> AssembledCall | None:
        """Return the call that a fragment continues or repeats; None if it begins one.

        Args:
            touched: Indexes of the calls that earlier entries of the list belong to.
            place: Index of the fragment in the list; None if it is the only entry.
        """
        # Entries of one list are different calls, if they have names.
        calls = [call for call in self.calls if call.index not in touched] if fragment.name else self.calls
        if fragment.id is not None:
            matching = [call for call in calls if call.sent_id == fragment.id and _same_place(call, fragment)]
            if not matching and fragment.index is not None:  # a call whose id comes late, or changes
                matching = [call for call in calls if call.sent_index == fragment.index and _takes_id(call, fragment)]
        elif fragment.index is not None:
            matching = [call for call in calls if call.sent_index == fragment.index]
        elif fragment.name:
            matching = [call for call in calls if _repeats(call, fragment)] or calls[-1:]
        else:
            # Without a name, an id and an index, only the place in the list is left.
            matching = ([] if place is None else calls[place : place + 1]) or calls[-1:]
        if not matching and not fragment.name and fragment.arguments and place is None:
            # A second call that started with the index of the first one, and continues with its own.
            matching = [call for call in calls[-1:] if call.name and not is_object(call.arguments)]
        return None if not matching or self._restarts(matching[-1], fragment) else matching[-1]

    def _restarts(self, call: AssembledCall, fragment: _Fragment) -> bool:
        """Return whether a fragment with the place of a call is another call nevertheless."""
        if not fragment.name or _repeats(call, fragment):
            return False
        different = fragment.name != call.name
        if different and {call.name, fragment.name} <= self._names and call.name + fragment.name not in self._names:
            return True
        anonymous = fragment.id is None and fragment.index is None
        return is_object(call.arguments) and (different or anonymous or fragment.arguments != "")

    def _more_of_name(self, call: AssembledCall, name: str) -> str:
        if call.name and call.name + name not in self._names:
            if call.name in self._names or name == call.name:
                return ""
            return name.removeprefix(call.name)
        return name

    def _fragments(self, sent: object) -> Iterator[_Fragment]:
        for raw in sent if isinstance(sent, list) else [sent]:
            if not isinstance(raw, dict):
                continue
            function = raw.get("function")
            if not isinstance(function, dict):
                function = raw  # some servers send name and arguments without `function` around them
            index, id_, name = raw.get("index"), raw.get("id"), function.get("name")
            yield _Fragment(
                index=int(index) if isinstance(index, int | str) and str(index).isdecimal() else None,
                id=str(id_) if isinstance(id_, int | str) and id_ != "" else None,
                name=self._tool_name(name) if isinstance(name, str) else "",
                arguments=as_text(function.get("arguments", function.get("parameters"))),
                fields={key: raw[key] for key in CALL_FIELDS if raw.get(key)},
            )

    def _tool_name(self, sent: str) -> str:
        """Return the tool that a name means, or the name as it is: it may be a part of one."""
        if sent in self._names or not (match := _DECORATED_NAME.fullmatch(sent)):
            return sent
        return next((name for name in (match[1], match[1].removesuffix("json")) if name in self._names), sent)


def _add_arguments(call: AssembledCall, fragment: _Fragment) -> None:
    new = fragment.arguments
    if means_none(call.arguments) and new.lstrip().startswith("{"):
        call.arguments = ""  # white space, `null` or `{}` in front
    if call.arguments and new.startswith(call.arguments) and (fragment.name or is_object(new)):
        new = new[len(call.arguments) :]
    elif is_object(call.arguments):
        return
    call.arguments += without_more(call.arguments, new)


def _same_place(call: AssembledCall, fragment: _Fragment) -> bool:
    if not fragment.name or None in (fragment.index, call.sent_index) or fragment.index == call.sent_index:
        return True
    return call.name == fragment.name and fragment.arguments.startswith(call.arguments)  # LocalAI repeats calls


def _takes_id(call: AssembledCall, fragment: _Fragment) -> bool:
    """Return whether a fragment with another id continues a call: some servers make an id for each chunk."""
    if call.sent_id is None or not fragment.name:
        return True
    begun = call.arguments and not is_object(call.arguments)
    return bool(begun) and call.name == fragment.name and not fragment.arguments.lstrip().startswith("{")


def _repeats(call: AssembledCall, fragment: _Fragment) -> bool:
    return call.name == fragment.name and bool(call.arguments) and call.arguments == fragment.arguments
