"""A cache of one process whose entries expire."""

from collections import OrderedDict
from collections.abc import Hashable
from time import monotonic
from typing import Any


class ExpiringCache:
    """The newest entries, each for some seconds.

    Args:
        entries: Maximum number of entries.
        seconds: Lifetime of an entry.
    """

    def __init__(self, entries: int, seconds: float) -> None:
        self._entries: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self._max_entries = entries
        self._seconds = seconds

    def get(self, key: Hashable) -> Any:  # noqa: ANN401  any value
        """Return an entry; None if there is none, or it has expired."""
        expires_at, value = self._entries.get(key, (0.0, None))
        return value if monotonic() < expires_at else None

    def set(self, key: Hashable, value: Any) -> None:  # noqa: ANN401  anything but None
        """Store an entry. The oldest one gives way."""
        self._entries.pop(key, None)
        self._entries[key] = (monotonic() + self._seconds, value)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
