"""Values of a graph's state as JSON of limited size, and the differences between two of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from langchain_core.messages import BaseMessage

from project4_agent_api.core.serialization import dumps
from project4_agent_api.steps.schemas import StateChange

UNREADABLE = object()  # a value that is too large, or whose class is gone
_MAX_TEXT = 8_000  # characters of one text
_MAX_ITEMS = 100  # of one list or object


class Budget:
    """The size that the values of one response may have together.

    Attributes:
        cut: Whether parts of a value were left out.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self.cut = False

    def fit(self, value: object) -> Any:  # noqa: ANN401  any JSON
        """Return a value as JSON, without the parts that are too large."""
        encoded = dumps(value)
        return self._fit(orjson.loads(encoded))

    def _fit(self, value: Any) -> Any:  # noqa: ANN401  any JSON
        match value:
            case str():
                most = min(_MAX_TEXT, max(self._left, 0))
                self._left -= min(len(value), most)
                if len(value) <= most:
                    return value
                self.cut = True
                return value[:most] + "…"
            case list():
                kept = self._most(value)
                return [self._fit(item) for item in value[:kept]]
            case dict():
                kept = self._most(value)
                return {self._fit(key): self._fit(item) for key, item in list(value.items())[:kept]}
        self._left -= 8
        return value

    def _most(self, value: "list[Any] | dict[str, Any]") -> int:
        """Return how many items of a value are kept."""
        kept = min(len(value), _MAX_ITEMS) if self._left > 0 else 0
        self._left -= 8 * kept
        self.cut = self.cut or kept < len(value)
        return kept


def messages_of(value: object) -> list[BaseMessage]:
    """Return the messages of a value: a list of them, or one."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, BaseMessage)]


@dataclass(frozen=True)
class Stored:
    """A value of a state.

    Attributes:
        value: `UNREADABLE` if it is not shown.
        bytes: Size of the value; 0 if it is short.
    """

    version: str
    value: Any
    bytes: int


def changes_of(before: Mapping[str, Stored], after: Mapping[str, Stored], budget: Budget) -> list[StateChange]:
    """Return the differences between two states, by channel."""
    return [
        _change(channel, before.get(channel, _NOTHING), now, budget)
        for channel, now in after.items()
        if channel not in before or before[channel].version != now.version
    ]


_NOTHING = Stored("", None, 0)


def _change(channel: str, before: Stored, after: Stored, budget: Budget) -> StateChange:
    change = StateChange(channel=channel, kind="set", bytes=after.bytes, cut=False)
    if before.value is UNREADABLE or after.value is UNREADABLE:
        change.kind, change.cut = "large", True
    elif isinstance(after.value, list) and isinstance(before.value, list | None):
        change.kind = "items"
        items = before.value or []
        change.items_before, change.items_after = len(items), len(after.value)
        parts = list_difference(items, after.value)
        change.added, change.changed, change.removed = (budget.fit(part) for part in parts)
    else:
        change.before, change.after = budget.fit(before.value), budget.fit(after.value)
    return change


def list_difference(before: list[Any], after: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the added, changed and removed items of a list.

    Messages, and other items with an id, are paired by it; the rest are compared in their order.
    """
    known = {_identity(item, at): item for at, item in enumerate(before)}
    now = {_identity(item, at): item for at, item in enumerate(after)}
    added = [item for name, item in now.items() if name not in known]
    changed = [item for name, item in now.items() if name in known and dumps(known[name]) != dumps(item)]
    removed = [item for name, item in known.items() if name not in now]
    return added, changed, removed


def _identity(item: object, place: int) -> object:
    found = item.get("id") if isinstance(item, Mapping) else getattr(item, "id", None)
    return found if isinstance(found, str) and found else place
