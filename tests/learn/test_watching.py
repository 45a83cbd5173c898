"""The loop that handles the files that a learner saves."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from learn import watching


class Ended(Exception):
    """Ends the loop, as Ctrl-C does."""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text("", "utf-8")
    return path


def save(path: Path) -> None:
    modified = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text("saved", "utf-8")
    os.utime(path, ns=(modified + 1, modified + 1))  # two saves may be within the resolution of the clock


def watch(
    monkeypatch: pytest.MonkeyPatch,
    files: Callable[[], Iterable[Path]],
    handle: Callable[[int], None] = lambda _: None,
    idle: Callable[[int], None] = lambda _: None,
) -> int:
    """Watch until the loop has waited three times.

    Args:
        handle: Called with the number of the call.
        idle: Called with the number of the wait.

    Returns:
        How often the files were handled.
    """
    handled = waited = 0

    def called() -> None:
        nonlocal handled
        handled += 1
        handle(handled)

    def sleep(_: float) -> None:
        nonlocal waited
        waited += 1
        idle(waited)
        if waited == 3:
            raise Ended

    monkeypatch.setattr("time.sleep", sleep)
    with pytest.raises(Ended):
        watching.watch(files, called, "waiting")
    return handled


def test_saved_file_is_handled(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    assert watch(monkeypatch, lambda: [mine], idle=lambda wait: save(mine) if wait == 1 else None) == 2


def test_created_file_is_not_handled_until_it_is_saved(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    created = mine.with_name("created.py")

    def create(call: int) -> None:
        if call == 1:
            created.touch()

    def files() -> Iterable[Path]:
        return mine.parent.glob("*.py")

    assert watch(monkeypatch, files, create) == 1
    created.unlink()
    assert watch(monkeypatch, files, create, lambda wait: save(created) if wait == 1 else None) == 2


def test_file_that_is_saved_while_another_is_handled_is_handled(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    assert watch(monkeypatch, lambda: [mine], lambda call: save(mine) if call == 1 else None) == 2


def test_file_that_vanishes_is_no_error(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    def replace(wait: int) -> None:
        if wait == 1:
            mine.unlink()
        elif wait == 2:
            save(mine)

    assert watch(monkeypatch, lambda: [mine], idle=replace) == 2
