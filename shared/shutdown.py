"""How far a process has shut down.

    running ── signal ──> draining ── DRAIN_SECONDS ──> finishing ── SHUTDOWN_TIMEOUT_SECONDS ──> closing ──> stopped

While draining, the process serves requests but starts no runs, and reports that it is not ready, so that load balancers
route clients elsewhere. Then it accepts no connections, and finishes the open requests. Finally it closes the remaining
connections in the middle of a response: clients notice that the response is incomplete, and continue elsewhere.
"""

from dataclasses import dataclass

from shared.errors import NotReady


@dataclass
class Shutdown:
    """The shutdown state of a process.

    Attributes:
        started: Whether the process has received a stop signal.
        closing_connections: Whether open connections are being closed. A disconnect then is not the client's decision.
    """

    started: bool = False
    closing_connections: bool = False

    def ensure_accepting_work(self) -> None:
        """Refuse new work during the shutdown.

        Raises:
            NotReady: if the shutdown has started.
        """
        if self.started:
            raise NotReady("This process is shutting down. Try again: another one will serve you.", retry_after=1)
