"""`GET /health`: the process is alive. `GET /ready`: it can serve."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from shared.errors import NotReady, documented

router = APIRouter(tags=["health"])


@dataclass(frozen=True)
class Check:
    """Something that a stage depends on.

    Attributes:
        name: As it is shown.
        probe: Says whether it is there, within about a second. Must not raise.
        required: Whether the service is not ready without it.
    """

    name: str
    probe: Callable[[], Awaitable[bool]]
    required: bool = True


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class CheckResult(BaseModel):
    """How one dependency is."""

    status: Literal["ok", "unreachable"]
    required: bool = Field(description="Whether the service is not ready without it.")


class Readiness(BaseModel):
    """The service can serve."""

    status: Literal["ready"] = "ready"
    checks: dict[str, CheckResult] = Field(
        examples=[{"model": {"status": "ok", "required": False}}],
        description="A model that is away is shown here, and takes no replica out of service.",
    )


async def get_checks(request: Request) -> list[Check]:
    """Return the checks that the app's resources have registered."""
    checks: list[Check] = request.app.state.checks
    return checks


@router.get("/health")
async def health() -> Health:
    """Say that the process is alive. Depends on nothing."""
    return Health()


@router.get("/ready", responses=documented(NotReady))
async def ready(checks: Annotated[list[Check], Depends(get_checks)]) -> Readiness:
    """Say whether the service can serve, and how each thing is that it depends on."""
    answers = await asyncio.gather(*(check.probe() for check in checks))
    results = {
        check.name: CheckResult(status="ok" if answer else "unreachable", required=check.required)
        for check, answer in zip(checks, answers, strict=True)
    }
    failing = [name for name, result in results.items() if result.required and result.status != "ok"]
    if failing:
        raise NotReady(f"Not reachable: {', '.join(failing)}.")
    return Readiness(checks=results)
