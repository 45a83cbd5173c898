"""The launcher's state in `.data/STAGE/`: its lock, its child processes, and the addresses of its services."""

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

from local.language import say
from shared.errors import ConfigurationError

DATA = Path(".data")
_STOP_SECONDS = 20.0


class AlreadyRunning(ConfigurationError):
    """Another launcher runs the stage in this folder."""


class StageState:
    """The folder of a stage, such as `project1`. Only one launcher at a time may use it.

    Args:
        folder: The folder; one below `.data` by default.

    Attributes:
        weights: Folder of the weights of embedded models, which all stages below `.data` share.
    """

    def __init__(self, stage: str, folder: Path | None = None) -> None:
        self.stage = stage
        self.folder = folder or DATA / stage
        self.weights = folder / "models" if folder else DATA / "models"
        self._children = self.folder / "children.json"
        self._environment = self.folder / "found-by.json"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder while the block runs, and stop the processes that a killed launcher has left behind.

        Raises:
            AlreadyRunning: if another launcher holds the lock.
            ConfigurationError: if the folder is not writable.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self.folder / "launcher.lock").open("a+")
        except OSError as error:
            folder = self.folder.resolve()
            raise ConfigurationError(f"cannot write to {folder} ({error.strerror})") from None
        with lock:
            _acquire(lock, self.stage)
            self.stop_orphans()
            yield
            for file in (self._children, self._environment):
                file.unlink(missing_ok=True)

    def log_file(self, name: str) -> Path:
        """Return the log file of a service."""
        return self.folder / f"{name}.log"

    def secret(self, name: str) -> str:
        """Return a secret, which is generated once and stored in a file that only its owner can read."""
        file = self.folder / name
        if not file.exists():
            _write_private(file, secrets.token_urlsafe(48))
        return file.read_text()

    def record_children(self, pids: list[int]) -> None:
        """Store the running child processes. Their start times distinguish them from processes that reuse a pid."""
        children = [[pid, _start_time(pid)] for pid in pids]
        _write_private(self._children, json.dumps(children))

    def publish_environment(self, environment: Mapping[str, str]) -> None:
        """Store the addresses of the embedded services, passwords included, for commands of the running stage."""
        _write_private(self._environment, json.dumps(dict(environment)))

    def published_environment(self) -> dict[str, str]:
        """Return the addresses that the running launcher has stored."""
        try:
            environment: dict[str, str] = json.loads(self._environment.read_text())
        except (OSError, ValueError):
            raise ConfigurationError(f"{self.stage} is still starting; try again when it is ready") from None
        return environment

    def stop_orphans(self) -> None:
        """Stop the child processes of a killed launcher."""
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


def _write_private(file: Path, text: str) -> None:
    scratch = file.with_suffix(".new")
    scratch.touch(mode=0o600)
    scratch.write_text(text)
    scratch.replace(file)


def stop_all() -> int:
    """Stop all launchers that run in this folder, and the child processes of killed ones.

    Returns:
        Exit status: 0, or 1 if a launcher does not stop.
    """
    failed = False
    for lock_file in sorted(DATA.glob("*/launcher.lock")):
        stage = lock_file.parent.name
        with lock_file.open("a+") as lock:
            try:
                _acquire(lock, stage)
            except AlreadyRunning:
                failed = not _stop_launcher(lock, stage) or failed
            else:
                StageState(stage).stop_orphans()
    return int(failed)


def _stop_launcher(lock: IO[str], stage: str) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(_holder_pid(lock)).send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(AlreadyRunning):
            _acquire(lock, stage)  # released after all its processes have ended
            say(f"{stage}: stopped")
            return True
        time.sleep(0.05)
    say(f"{stage}: process {_holder_pid(lock)} does not stop")
    return False


def _acquire(lock: IO[str], stage: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = _holder_pid(lock)
        raise AlreadyRunning(f"{stage} is already running here (process {holder}); `kill {holder}` stops it") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _holder_pid(lock: IO[str]) -> int:
    lock.seek(0)
    return int(lock.read() or 0)


def _start_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0
