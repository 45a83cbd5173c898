"""Traces of requests and runs, from the request through the queue to the last model call.

Without a collector in the settings nothing is traced, and the libraries of OpenTelemetry are not imported.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from typing import Protocol
from uuid import UUID

from fastapi import FastAPI

from project4_agent_api.settings import Settings

SetRunStatus = Callable[[str], None]


class Tracing(Protocol):
    """Traces of requests, stored runs and executions."""

    def storing_run(self, run_id: UUID, graph_id: str) -> AbstractContextManager[str | None]:
        """Trace the storing of a run, and return the `traceparent` for its worker."""

    def executing_run(
        self, graph_id: str, traceparent: str | None, attributes: Mapping[str, str | int | float]
    ) -> AbstractContextManager[SetRunStatus]:
        """Trace the execution of a run and its calls, and return a function that records its final status."""

    def rate_run(self, traceparent: str | None, key: str, score: float | None) -> None:
        """Add feedback to the trace of a run."""

    def trace_requests(self, app: FastAPI) -> None:
        """Trace every request of an application."""

    def running(self, app: FastAPI) -> AbstractAsyncContextManager[None]:
        """Send the remaining spans when the block ends. It is a resource of `build_app`."""


class NoTracing:
    """`Tracing` without a collector."""

    def storing_run(self, run_id: UUID, graph_id: str) -> AbstractContextManager[str | None]:
        """Do nothing."""
        del run_id, graph_id
        return nullcontext()

    def executing_run(
        self, graph_id: str, traceparent: str | None, attributes: Mapping[str, str | int | float]
    ) -> AbstractContextManager[SetRunStatus]:
        """Do nothing."""
        del graph_id, traceparent, attributes
        return nullcontext(_ignore_status)

    def rate_run(self, traceparent: str | None, key: str, score: float | None) -> None:
        """Do nothing."""
        del traceparent, key, score

    def trace_requests(self, app: FastAPI) -> None:
        """Do nothing."""

    def running(self, app: FastAPI) -> AbstractAsyncContextManager[None]:
        """Do nothing."""
        del app
        return nullcontext()


def _ignore_status(status: str) -> None:
    del status


def create_tracing(settings: Settings, process: str) -> Tracing:
    """Create the tracing of a process. `process` is the service name in the traces."""
    if settings.otel_exporter_otlp_endpoint is None:
        return NoTracing()
    from project4_agent_api.core.telemetry.spans import OpenTelemetryTracing  # noqa: PLC0415  imports its libraries on demand

    return OpenTelemetryTracing.exporting(settings, process)
