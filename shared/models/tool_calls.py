"""Assemble tool calls from fragments with or without an index or an id, or from whole calls.

Each call gets an index and an id of the service's own. Endpoints send ids that are missing, empty, or the same for two
calls, so neither a result nor an approval can rely on them.
"""

import json
import secrets
import string
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

_ALPHABET = string.ascii_letters + string.digits
_ID_LENGTH = 9  # Mistral takes exactly this form, the others any
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
    """

    index: int
    id: str
    sent_index: int | None
    sent_id: str | None
    name: str = ""
    arguments: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    announced: bool = False

    def delta(self, name: str, arguments: str) -> dict[str, Any]:
        """Return a delta in OpenAI's form, with the id if it is the first one."""
        first, self.announced = not self.announced, True
        function = {"name": name or None, "arguments": arguments}
        return {"index": self.index, "id": self.id if first else None, "type": "function", "function": function}

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
        deltas = []
        fragments = list(_fragments(sent))
        for place, fragment in enumerate(fragments):
            call = self._find(fragment, touched, place if len(fragments) > 1 else None)
            if call is None:
                call = AssembledCall(len(self.calls), self._new_id(), fragment.index, fragment.id)
                self.calls.append(call)
            touched.add(call.index)
            name, arguments = self._additions(call, fragment)
            call.sent_id = call.sent_id or fragment.id
            call.name += name
            call.arguments += arguments
            call.fields |= fragment.fields
            if name or arguments:
                deltas.append(call.delta(name, arguments))
        return deltas

    def finish(self) -> list[dict[str, Any]]:
        """Drop incomplete calls, and invalidate arguments that are no JSON object; return the deltas."""
        deltas = []
        for call in self.calls:
            name = "" if call.name or not call.arguments else "unknown"
            suffix = "" if not call.arguments or _is_object(call.arguments) else _invalidating_suffix(call.arguments)
            call.name += name
            call.arguments += suffix
            if name or suffix:
                deltas.append(call.delta(name, suffix))
        self.calls = [call for call in self.calls if call.name]
        return deltas

    @property
    def complete(self) -> bool:
        """Whether there are calls, and the arguments of each are a JSON object or absent."""
        return bool(self.calls) and all(not call.arguments or _is_object(call.arguments) for call in self.calls)

    def _new_id(self) -> str:
        new = new_call_id(self._taken)
        self._taken.add(new)
        return new

    def _find(self, fragment: _Fragment, touched: Collection[int], place: int | None) -> AssembledCall | None:
        """Return the call that a fragment continues or repeats; None if it begins one.

        Args:
            touched: Indexes of the calls that earlier entries of the list belong to.
            place: Of the fragment in the list; None if it is the only entry.
        """
        # Entries of one list are different calls, if they have names.
        calls = [call for call in self.calls if call.index not in touched] if fragment.name else self.calls
        if fragment.id is not None:
            matching = [call for call in calls if call.sent_id == fragment.id and _same_place(call, fragment)]
            if not matching and fragment.index is not None:  # a call whose id comes late
                matching = [call for call in calls if call.sent_id is None and call.sent_index == fragment.index]
        elif fragment.index is not None:
            matching = [call for call in calls if call.sent_index == fragment.index]
        elif fragment.name:
            matching = [call for call in calls if _repeats(call, fragment)] or calls[-1:]
        else:
            # Without a name, an id and an index, only the place in the list is left.
            matching = ([] if place is None else calls[place : place + 1]) or calls[-1:]
        return None if not matching or self._restarts(matching[-1], fragment) else matching[-1]

    def _restarts(self, call: AssembledCall, fragment: _Fragment) -> bool:
        """Return whether a fragment with the place of a call is another call nevertheless."""
        if not fragment.name or _repeats(call, fragment):
            return False
        different = fragment.name != call.name
        if different and {call.name, fragment.name} <= self._names and call.name + fragment.name not in self._names:
            return True
        anonymous = fragment.id is None and fragment.index is None
        return _is_object(call.arguments) and (different or anonymous or fragment.arguments != "")

    def _additions(self, call: AssembledCall, fragment: _Fragment) -> tuple[str, str]:
        name, arguments = fragment.name, fragment.arguments
        if call.name and call.name + name not in self._names:
            if call.name in self._names or name == call.name:
                name = ""
            elif name.startswith(call.name):
                name = name[len(call.name) :]
        if call.arguments and arguments.startswith(call.arguments) and (fragment.name or _is_object(arguments)):
            arguments = arguments[len(call.arguments) :]
        elif _is_object(call.arguments):
            arguments = ""
        return name, arguments


def _fragments(sent: object) -> Iterator[_Fragment]:
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
            name=name if isinstance(name, str) else "",
            arguments=_arguments(function.get("arguments")),
            fields={key: raw[key] for key in CALL_FIELDS if raw.get(key)},
        )


def _arguments(sent: object) -> str:
    if sent is None:
        return ""
    text = sent if isinstance(sent, str) else json.dumps(sent, ensure_ascii=False)
    return "" if text.strip() == "null" else text


def _same_place(call: AssembledCall, fragment: _Fragment) -> bool:
    return not fragment.name or None in (fragment.index, call.sent_index) or fragment.index == call.sent_index


def _repeats(call: AssembledCall, fragment: _Fragment) -> bool:
    return call.name == fragment.name and bool(call.arguments) and call.arguments == fragment.arguments


def _is_object(text: str) -> bool:
    if not text.rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _invalidating_suffix(text: str) -> str:
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
