"""How far a process is on its way to its end, for those who must behave differently then.

    running ── signal ──> draining ── DRAIN_SECONDS ──> finishing ── SHUTDOWN_TIMEOUT_SECONDS ──> hanging up ──> closed

While it drains it serves what is asked, but begins no run, and says that it is not ready, so that load balancers send
clients elsewhere. Then it takes no more connections, and finishes what is open. What is not finished in time is cut
off, in the middle: by this clients see that they have not read all, and go on elsewhere.
"""

from dataclasses import dataclass

from shared.errors import NotReady


@dataclass
class Shutdown:
    """What a process knows of its end.

    Attributes:
        begun: It was told to stop.
        hanging_up: What is still open is being cut off: a client that is gone has not left by itself.
    """

    started: bool = False
    closing_connections: bool = False

    def ensure_accepting_work(self) -> None:
        """Refuse work that another process should begin.

        Raises:
            NotReady: if this one was told to stop.
        """
        if self.started:
            raise NotReady("This process is stopping. Try again: another one takes it.", retry_after=1)
