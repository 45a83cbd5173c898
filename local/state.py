"""What the launcher keeps under `.data/STAGE/`: who runs here, and which processes are its children."""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import psutil

from shared.errors import ConfigurationError

DATA = Path(".data")
_STOP_SECONDS = 20.0


class RunsAlready(ConfigurationError):
    """Another launcher holds the stage."""


class StageState:
    """The folder of one stage. Only one launcher at a time may hold it.

    Args:
        stage: For example `project1`.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.folder = DATA / stage
        self._children = self.folder / "children.json"
        self._found_by = self.folder / "found-by.json"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder, and end what a launcher that was killed has left running.

        Raises:
            RunsAlready: if another launcher holds it.
            ConfigurationError: if it cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self.folder / "launcher.lock").open("a+")
        except OSError as error:
            folder = self.folder.resolve()
            raise ConfigurationError(f"cannot write to {folder} ({error.strerror})") from None
        with lock:
            _take(lock, self.stage)
            self.end_leftovers()
            yield
            for file in (self._children, self._found_by):
                file.unlink(missing_ok=True)

    def log_file(self, name: str) -> Path:
        """Return where a service writes its log."""
        return self.folder / f"{name}.log"

    def secret(self, name: str) -> str:
        """Return a secret that is made once, and kept in a file that only its owner can read."""
        file = self.folder / name
        if not file.exists():
            _write_for_owner(file, secrets.token_urlsafe(48))
        return file.read_text()

    def remember(self, pids: list[int]) -> None:
        """Write down the children that are running now. A pid is told from a later one by its start time."""
        children = [[pid, _start_time(pid)] for pid in pids]
        _write_for_owner(self._children, json.dumps(children))

    def publish(self, environment: Mapping[str, str]) -> None:
        """Write down how the embedded services are found, passwords included, for commands that run beside."""
        _write_for_owner(self._found_by, json.dumps(dict(environment)))

    def published(self) -> dict[str, str]:
        """Return what a launcher that runs has published."""
        try:
            found: dict[str, str] = json.loads(self._found_by.read_text())
        except (OSError, ValueError):
            raise ConfigurationError(f"{self.stage} has only begun to start; try again when it is ready") from None
        return found

    def end_leftovers(self) -> None:
        """End the children of a launcher that could not do it itself."""
        try:
            children = json.loads(self._children.read_text())
        except (OSError, ValueError):
            return
        processes = [psutil.Process(pid) for pid, started in children if started and _start_time(pid) == started]
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=_STOP_SECONDS)
        self._children.unlink(missing_ok=True)


def _write_for_owner(file: Path, text: str) -> None:
    scratch = file.with_suffix(".new")
    scratch.touch(mode=0o600)
    scratch.write_text(text)
    scratch.replace(file)


def stop_all() -> int:
    """Stop every launcher that runs in this folder, and what killed ones have left.

    Returns:
        An exit status: 0, or 1 if one of them would not end.
    """
    failed = False
    for lock_file in sorted(DATA.glob("*/launcher.lock")):
        stage = lock_file.parent.name
        with lock_file.open("a+") as lock:
            try:
                _take(lock, stage)
            except RunsAlready:
                failed = not _stop_launcher(lock, stage) or failed
            else:
                StageState(stage).end_leftovers()
    return int(failed)


def _stop_launcher(lock: IO[str], stage: str) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(_holder(lock)).send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(RunsAlready):
            _take(lock, stage)  # it has let go: everything of it has ended
            print(f"{stage}: stopped")
            return True
        time.sleep(0.05)
    print(f"{stage}: process {_holder(lock)} does not end")
    return False


def _take(lock: IO[str], stage: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RunsAlready(f"{stage} runs here already (process {_holder(lock)}); `make stop` ends it") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _holder(lock: IO[str]) -> int:
    lock.seek(0)
    return int(lock.read() or 0)


def _start_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0
