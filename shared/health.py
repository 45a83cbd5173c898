"""`GET /health` (liveness) and `GET /ready` (readiness)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from loguru import logger
from pydantic import BaseModel, Field

from shared.errors import NotReady
from shared.problems import error_responses
from shared.shutdown import Shutdown

router = APIRouter(tags=["health"])

_GRACE_SECONDS = 0.5  # in which a healthy worker claims for the first time
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 4.0
Failure = Literal["unreachable", "read-only", "outdated", "idle"]
_FAILURES: dict[Failure, str] = {
    "unreachable": "Not reachable",
    "read-only": "Read-only",
    "outdated": "Not up to date",
    "idle": "Not working",
}


@dataclass(frozen=True)
class Check:
    """A readiness check of a dependency.

    Attributes:
        probe: Returns whether the dependency is available, or how it fails, within about a second, without raising.
        required: Whether the service is unready without it.
        failure: Status if the probe returns false.
    """

    name: str
    probe: Callable[[], Awaitable[bool | Failure]]
    required: bool = True
    failure: Failure = "unreachable"


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class CheckResult(BaseModel):
    """The status of a dependency."""

    status: Literal["ok"] | Failure
    required: bool = Field(description="Whether the service is unready without it.")


class Readiness(BaseModel):
    """The service can serve requests."""

    status: Literal["ready"] = "ready"
    checks: dict[str, CheckResult] = Field(
        examples=[{"model": {"status": "ok", "required": False}}],
        description="An unavailable model endpoint is reported here, but takes no replica out of service.",
    )


class Checks(list[Check]):
    """The readiness checks of an app. Each resource registers its own."""

    def __init__(self) -> None:
        super().__init__()
        self._running: asyncio.Task[dict[str, CheckResult]] | None = None

    async def run(self) -> dict[str, CheckResult]:
        """Run all checks, and return their results by name. Concurrent callers share one run."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(_run(self))
        return await asyncio.shield(self._running)

    async def log_until_ready(self) -> None:
        """Log the failing dependencies until the service is ready for the first time."""
        required = [check for check in self if check.required]
        if describe_failures(await _run(required)):
            await asyncio.sleep(_GRACE_SECONDS)
        logged, pause = "", _FIRST_PAUSE_SECONDS
        while failures := describe_failures(await _run(required)):
            if failures != logged:
                logger.warning("waiting to become ready. {}", failures)
            logged, pause = failures, min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)
        logger.info("ready")


async def _run(checks: Sequence[Check]) -> dict[str, CheckResult]:
    found = await asyncio.gather(*(check.probe() for check in checks))
    return {check.name: _result(check, state) for check, state in zip(checks, found, strict=True)}


def _result(check: Check, state: bool | Failure) -> CheckResult:
    status = state if isinstance(state, str) else "ok" if state else check.failure
    return CheckResult(status=status, required=check.required)


def describe_failures(results: dict[str, CheckResult]) -> str:
    """Return a sentence for each kind of failure of required dependencies; empty if there are none."""
    sentences = [
        (text, [name for name, result in results.items() if result.required and result.status == failure])
        for failure, text in _FAILURES.items()
    ]
    return " ".join(f"{text}: {', '.join(names)}." for text, names in sentences if names)


async def get_checks(request: Request) -> Checks:
    """Return the app's readiness checks."""
    checks: Checks = request.app.state.checks
    return checks


@router.get("/health")
async def health() -> Health:
    """Report that the process is alive, without checking any dependency."""
    return Health()


@router.get("/ready", responses=error_responses(NotReady))
async def ready(request: Request, checks: Annotated[Checks, Depends(get_checks)]) -> Readiness:
    """Report whether the service can serve requests, and the status of each dependency."""
    shutdown: Shutdown = request.app.state.shutdown
    shutdown.ensure_accepting_work()
    results = await checks.run()
    if failures := describe_failures(results):
        raise NotReady(failures)
    return Readiness(checks=results)
