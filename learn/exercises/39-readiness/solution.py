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
        try:
            async with asyncio.timeout(timeout_seconds):
                await check()
        except Exception:  # noqa: BLE001  drivers raise all kinds of errors
            return "unavailable"
        return "ok"

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready")
    async def ready(response: Response) -> dict[str, str]:
        if app.state.draining:
            response.status_code = 503
            return {"status": "draining"}
        results = await asyncio.gather(*(probe(check) for check in checks.values()))
        if "unavailable" in results:
            response.status_code = 503
        return dict(zip(checks, results, strict=True))

    return app
