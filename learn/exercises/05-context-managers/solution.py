"""Context managers: what happens before and after a block, however the block ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self


@contextmanager
def transaction(statements: list[str]) -> Iterator[None]:
    """Append BEGIN before the block, then COMMIT after it, or ROLLBACK if the block raises; the error goes on."""
    statements.append("BEGIN")
    try:
        yield
    except BaseException:
        statements.append("ROLLBACK")
        raise
    statements.append("COMMIT")


class Stopwatch:
    """Measures a block: `with Stopwatch(clock) as watch: …`, then `watch.seconds`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.seconds: float | None = None

    def __enter__(self) -> Self:
        self._started = self.clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.seconds = self.clock() - self._started
