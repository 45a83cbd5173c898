"""Limits of a check: processor time, and time without any. How busy the machine is does not matter for either.

A process that exceeds a limit writes the stacks of its threads to a file, and ends.
"""

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROCESSOR_SECONDS = 6.0  # an endless loop
IDLE_SECONDS = 8.0  # a wait for something that never happens
_PERIOD = 0.5
_ACTIVE = 0.005  # processor seconds of a period; the watching itself takes less


class Limits:
    """The limits of checks that run one after the other.

    Args:
        stacks: The file for the stacks.
    """

    def __init__(
        self, stacks: Path, processor_seconds: float = PROCESSOR_SECONDS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._stacks = stacks.open("w", encoding="utf-8")
        self._processor_seconds = processor_seconds
        self._idle_seconds = idle_seconds
        # The handler is written in C: it also interrupts code that holds the interpreter's lock, and then the default
        # action of the signal ends the process.
        faulthandler.register(signal.SIGPROF, self._stacks, all_threads=True, chain=True)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Apply the limits to a block."""
        ended = threading.Event()
        watch = threading.Thread(target=self._end_if_idle, args=(ended,), daemon=True)
        signal.setitimer(signal.ITIMER_PROF, self._processor_seconds)
        watch.start()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            ended.set()
            watch.join()

    def _end_if_idle(self, ended: threading.Event) -> None:
        # Periods are counted instead of seconds: on a busy machine, this thread has to wait, too.
        idle, used = 0.0, time.process_time()
        while not ended.wait(_PERIOD):
            before, used = used, time.process_time()
            idle = idle + _PERIOD if used - before < _ACTIVE else 0.0
            if idle >= self._idle_seconds:
                faulthandler.dump_traceback(self._stacks, all_threads=True)
                os._exit(1)
