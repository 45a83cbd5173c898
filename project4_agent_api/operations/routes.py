"""`/ok` and `/info`: what clients of LangGraph's API ask first."""

from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from shared.errors import NotReady
from shared.health import Checks, get_checks
from shared.problems import error_responses

router = APIRouter(tags=["system"])


class Ok(BaseModel):
    """The service is there."""

    ok: bool = True


class Flags(BaseModel):
    """What the service can do."""

    assistants: bool = True
    crons: bool = True
    langsmith: bool = False


class Host(BaseModel):
    """Who runs it."""

    kind: str = "self-hosted"


class Info(BaseModel):
    """What the service is."""

    version: str
    langgraph_py_version: str
    flags: Flags = Flags()
    host: Host = Host()


@router.get("/ok", responses=error_responses(NotReady))
async def show_ok(
    checks: Annotated[Checks, Depends(get_checks)],
    check_db: Annotated[bool, Query(description="Whether the database must be there too.")] = False,
) -> Ok:
    """Say that the service is there."""
    if check_db and (await checks.run())["database"].status != "ok":
        raise NotReady("Not reachable: database.")
    return Ok()


@router.get("/info")
async def show_info(request: Request) -> Info:
    """Say what the service is, and what it can do."""
    return Info(version=request.app.version, langgraph_py_version=version("langgraph"))
