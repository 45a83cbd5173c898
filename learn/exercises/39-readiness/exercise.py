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
        #       限制时间，并把任何异常都变成 unavailable
        await check()
        return "ok"

    @app.get("/health")
    async def health() -> dict[str, str]:
        # TODO: liveness must not depend on anything: a restart of this process repairs no database
        #       存活检查不能依赖任何外部服务：重启本进程修不好数据库
        return {name: await probe(check) for name, check in checks.items()}

    @app.get("/ready")
    async def ready(response: Response) -> dict[str, str]:
        # TODO: probe all dependencies concurrently; answer 503 if one is unavailable
        #       并发检查所有依赖；有一个不可用就返回 503
        # TODO: while draining, answer 503 and {"status": "draining"} without probing anything
        #       排空期间返回 503 和 {"status": "draining"}，不再检查任何依赖
        return {}

    return app
