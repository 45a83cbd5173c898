"""Tell an orchestrator two things apart: the process lives (`/health`), and it can take requests (`/ready`)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Response

Check = Callable[[], Awaitable[None]]  # raises if the dependency is unavailable


def create_app(checks: Mapping[str, Check], timeout_seconds: float = 1.0) -> FastAPI:
    """Return an application with both probes.

    `app.state.draining = True` announces the shutdown, so that no new requests arrive.
    """
    app = FastAPI()
    app.state.draining = False

    async def probe(check: Check) -> str:
        """Return "ok", or "unavailable" if the check fails or takes too long."""
        # TODO: limit the time, and turn any exception into "unavailable"
        await check()
        return "ok"

    @app.get("/health")
    async def health() -> dict[str, str]:
        # TODO: liveness must not depend on anything: a restart of this process repairs no database
        return {name: await probe(check) for name, check in checks.items()}

    @app.get("/ready")
    async def ready(response: Response) -> dict[str, str]:
        # TODO: probe all dependencies concurrently; answer 503 if one is unavailable
        # TODO: while draining, answer 503 and {"status": "draining"} without probing anything
        return {}

    return app
