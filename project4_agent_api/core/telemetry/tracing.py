"""Traces: what happened for a request, from its beginning through the queue to the last call of a model.

They are off where no collector is named, and then nothing is loaded that makes or sends them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Protocol
from uuid import UUID

from fastapi import FastAPI

from project4_agent_api.core.postgres import Row
from project4_agent_api.settings import Settings

Ended = Callable[[str], None]


class Tracing(Protocol):
    """Tells a collector what is done."""

    def storing(self, run_id: UUID, graph_id: str) -> AbstractContextManager[str | None]:
        """Tell that a run is stored while the block runs; give what goes with it to its worker, a `traceparent`."""

    def executing(self, run: Row, graph_id: str) -> AbstractContextManager[Ended]:
        """Tell that a run is executed while the block runs, and what it calls; give what says how it ended."""

    def close(self) -> None:
        """Send what was not sent yet. It takes a while."""


class NoTracing:
    """Tells nobody."""

    def storing(self, run_id: UUID, graph_id: str) -> AbstractContextManager[str | None]:
        """Do nothing."""
        del run_id, graph_id
        return nullcontext()

    def executing(self, run: Row, graph_id: str) -> AbstractContextManager[Ended]:
        """Do nothing."""
        del run, graph_id
        return nullcontext(_no_matter)

    def close(self) -> None:
        """Do nothing."""


def _no_matter(status: str) -> None:
    del status


def trace(app: FastAPI, settings: Settings, process: str) -> None:
    """Put what tells a collector on `app.state`; and around all requests, where there is a collector.

    Args:
        app: Of this process.
        settings: They name the collector, or none.
        process: What it is called there.
    """
    if settings.otel_exporter_otlp_endpoint is None:
        app.state.tracing = NoTracing()
        return
    from project4_agent_api.core.telemetry.spans import Spans, TraceRequests

    spans = Spans.sent_to(settings, process)
    app.state.tracing = spans
    app.add_middleware(TraceRequests, spans=spans)


@asynccontextmanager
async def tracing(app: FastAPI) -> AsyncIterator[None]:
    """Send at the end what was not sent yet."""
    yield
    await asyncio.to_thread(app.state.tracing.close)
