"""Handle the changes of files that the learner saves."""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from learn.stages import echo

_POLL_SECONDS = 0.3


def watch(files: Callable[[], Iterable[Path]], handle: Callable[[], None], waiting: str) -> NoReturn:
    """Call a function now and whenever a file was saved, until Ctrl-C.

    A file that the function creates is no change; one that is saved while it runs is.

    Args:
        waiting: A line to print when the function has returned.
    """
    while True:
        before = _modified(files())
        handle()
        known = {**_modified(files()), **before}
        echo(waiting)
        while all(known.get(path) == modified for path, modified in _modified(files()).items()):
            time.sleep(_POLL_SECONDS)


def _modified(files: Iterable[Path]) -> Mapping[Path, int]:
    found = {}
    for path in files:
        with contextlib.suppress(FileNotFoundError):  # editors move the old version away before they write the new one
            found[path] = path.stat().st_mtime_ns
    return found
