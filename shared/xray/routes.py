"""`/xray`: the last requests, the time line of one, and the control of the launcher's processes."""

from secrets import token_hex
from time import time
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from shared.errors import Forbidden, NotFound
from shared.xray import control
from shared.xray.access import Viewer, Xray, get_viewer, get_xray
from shared.xray.control import Action
from shared.xray.rows import RequestHead, Row
from shared.xray.sources import Question, line_of

router = APIRouter(prefix="/xray", include_in_schema=False)

XrayDep = Annotated[Xray, Depends(get_xray)]
ViewerDep = Annotated[Viewer, Depends(get_viewer)]


class Overview(BaseModel):
    """The last requests, newest first, and what the control offers."""

    requests: list[RequestHead]
    actions: dict[Action, bool]


class LinkedRow(Row):
    """A row with the address of its line."""

    url: str


class TimelineRead(BaseModel):
    """The time line of a request."""

    request: RequestHead
    rows: list[LinkedRow]
    omitted: int
    questions: dict[str, Question]


class Change(BaseModel):
    """Whether an action is to be in effect."""

    active: bool


@router.get("/requests")
async def list_requests(xray: XrayDep, viewer: ViewerDep, limit: int = 30) -> Overview:
    """Return the last requests that the caller may see."""
    offered = await control.actions(xray.control_socket) if viewer.is_administrator else {}
    return Overview(requests=xray.buffer.requests(viewer.may_see)[:limit], actions=offered)


@router.get("/requests/{request_id}")
async def read_timeline(request_id: str, xray: XrayDep, viewer: ViewerDep) -> TimelineRead:
    """Return the time line of a request."""
    timeline = xray.buffer.timeline(request_id, viewer.may_see)
    if timeline is None:
        raise NotFound("There is no such request, or its rows have made room for newer ones.")
    rows = [LinkedRow(**dict(row), url=xray.links.line(row.source) if row.source else "") for row in timeline.rows]
    kinds = {row.kind for row in rows}
    questions = {kind: question for kind, question in xray.links.questions().items() if kind in kinds}
    return TimelineRead(request=timeline.head, rows=rows, omitted=timeline.omitted, questions=questions)


@router.post("/actions/{action}")
async def change_action(action: Action, body: Change, xray: XrayDep, viewer: ViewerDep) -> dict[Action, bool]:
    """Freeze the database, kill the worker or slow the model."""
    if not viewer.is_administrator:
        raise Forbidden("This is for administrators.")
    changed = await control.act(xray.control_socket, action, active=body.active)
    mark_open_requests(xray, action if body.active else f"end {action}")
    return changed


def mark_open_requests(xray: Xray, name: str) -> None:
    """Add a row to the requests that go on: from here on an action has its effect."""
    for root in xray.buffer.open_requests():
        row = Row(
            span_id=token_hex(8),
            parent_id=root,
            kind="control",
            name=name,
            started=time(),
            duration_ms=0,
            process="launcher",
            status="ok",
            source=line_of(control.act),
        )
        xray.buffer.add(row)
