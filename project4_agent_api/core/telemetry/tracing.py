"""Traces: what happened for a request, from its beginning through the queue to the last call of a model.

They are off where no collector is named, and then nothing is loaded that makes or sends them.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from typing import Protocol
from uuid import UUID

from fastapi import FastAPI

from project4_agent_api.core.postgres import Row
from project4_agent_api.settings import Settings

SetRunStatus = Callable[[str], None]


class Tracing(Protocol):
    """Tells a collector what is done."""

    def storing_run(self, run_id: UUID, graph_id: str) -> AbstractContextManager[str | None]:
        """Tell that a run is stored while the block runs; give what goes with it to its worker, a `traceparent`."""

    def executing_run(self, run: Row, graph_id: str) -> AbstractContextManager[SetRunStatus]:
        """Tell that a run is executed while the block runs, and what it calls; give what says how it ended."""

    def trace_requests(self, app: FastAPI) -> None:
        """Trace every request of an application."""

    def running(self, app: FastAPI) -> AbstractAsyncContextManager[None]:
        """Send the remaining spans when the block ends. It is a resource of `build_app`."""


class NoTracing:
    """Tells nobody."""

    def storing_run(self, run_id: UUID, graph_id: str) -> AbstractContextManager[str | None]:
        """Do nothing."""
        del run_id, graph_id
        return nullcontext()

    def executing_run(self, run: Row, graph_id: str) -> AbstractContextManager[SetRunStatus]:
        """Do nothing."""
        del run, graph_id
        return nullcontext(_ignore_status)

    def trace_requests(self, app: FastAPI) -> None:
        """Do nothing."""

    def running(self, app: FastAPI) -> AbstractAsyncContextManager[None]:
        """Do nothing."""
        del app
        return nullcontext()


def _ignore_status(status: str) -> None:
    del status


def create_tracing(settings: Settings, process: str) -> Tracing:
    """Make what sends traces to the collector that the settings name; without one, nothing is traced.

    Args:
        settings: They name the collector, or none.
        process: The service name in the traces.
    """
    if settings.otel_exporter_otlp_endpoint is None:
        return NoTracing()
    from project4_agent_api.core.telemetry.spans import Spans  # noqa: PLC0415  its libraries are loaded on demand

    return Spans.exporting(settings, process)
