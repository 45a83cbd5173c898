"""`GET /health`: the process is alive. `GET /ready`: it can serve."""

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

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 4.0
Failure = Literal["unreachable", "outdated", "idle"]
_SAID: dict[Failure, str] = {"unreachable": "Not reachable", "outdated": "Not up to date", "idle": "Not working"}


@dataclass(frozen=True)
class Check:
    """Something that a stage depends on.

    Attributes:
        name: As it is shown.
        probe: Says whether it is there, within about a second. Must not raise.
        required: Whether the service is not ready without it.
        failure: What it is where it is not as it should be.
    """

    name: str
    probe: Callable[[], Awaitable[bool]]
    required: bool = True
    failure: Failure = "unreachable"


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class CheckResult(BaseModel):
    """How one dependency is."""

    status: Literal["ok"] | Failure
    required: bool = Field(description="Whether the service is not ready without it.")


class Readiness(BaseModel):
    """The service can serve."""

    status: Literal["ready"] = "ready"
    checks: dict[str, CheckResult] = Field(
        examples=[{"model": {"status": "ok", "required": False}}],
        description="A model that is away is shown here, and takes no replica out of service.",
    )


class Checks(list[Check]):
    """The checks of an app, which its resources register."""

    def __init__(self) -> None:
        super().__init__()
        self._asking: asyncio.Task[dict[str, CheckResult]] | None = None

    async def run(self) -> dict[str, CheckResult]:
        """Ask all, by name. Whoever comes while others wait is given what they are: nobody can ask more often."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(_ask(self))
        return await asyncio.shield(self._asking)

    async def log_until_ready(self) -> None:
        """Say in the log what is waited for before the service can serve, and when all of it is there."""
        required = [check for check in self if check.required]
        said, pause = "", _FIRST_PAUSE_SECONDS
        while missing := describe_failures(await _ask(required)):
            if missing != said:
                logger.warning("the service waits. {}", missing)
            said, pause = missing, min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)
        logger.info("the service is ready")


async def _ask(checks: Sequence[Check]) -> dict[str, CheckResult]:
    answers = await asyncio.gather(*(check.probe() for check in checks))
    return {
        check.name: CheckResult(status="ok" if answer else check.failure, required=check.required)
        for check, answer in zip(checks, answers, strict=True)
    }


def describe_failures(results: dict[str, CheckResult]) -> str:
    """Say which of the required things are not as they should be; nothing if all are."""
    sentences = [
        (said, [name for name, result in results.items() if result.required and result.status == failure])
        for failure, said in _SAID.items()
    ]
    return " ".join(f"{said}: {', '.join(names)}." for said, names in sentences if names)


async def get_checks(request: Request) -> Checks:
    """Return the checks that the app's resources have registered."""
    checks: Checks = request.app.state.checks
    return checks


@router.get("/health")
async def health() -> Health:
    """Say that the process is alive. Depends on nothing."""
    return Health()


@router.get("/ready", responses=error_responses(NotReady))
async def ready(request: Request, checks: Annotated[Checks, Depends(get_checks)]) -> Readiness:
    """Say whether the service can serve, and how each thing is that it depends on."""
    stopping: Shutdown = request.app.state.shutdown
    stopping.ensure_accepting_work()
    results = await checks.run()
    if missing := describe_failures(results):
        raise NotReady(missing)
    return Readiness(checks=results)
