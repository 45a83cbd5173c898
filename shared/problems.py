"""Error responses: RFC 9457's `application/problem+json`, and its description in the OpenAPI document."""

import errno
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from loguru import logger
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from shared.errors import InvalidRequest, ServiceError, StorageFull
from shared.paths import route_path

PROBLEM_JSON = "application/problem+json"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_EXAMPLE_ID = "0f6c1c5e9a6b4d0f8a3a5f6f2c1d7e9b"
_EXAMPLE_FIELD = {"loc": ["body", "question"], "msg": "must not be blank", "type": "value_error"}


class InvalidField(BaseModel):
    """One validation error of a request."""

    loc: list[str | int] = Field(description="`body`, `query`, `path` or `header`, then the path to the field.")
    msg: str
    type: str


class LimitRead(BaseModel):
    """The limit that a request would exceed."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(description="The setting that sets it, in lower case.")
    maximum: int
    used: int = Field(description="What the caller has now.")


class Problem(BaseModel):
    """An error response as defined by RFC 9457."""

    type: str = Field(default="about:blank", description="Stable identifier of the kind of error, to branch on.")
    title: str = Field(description="Short summary; always the same for one `type`.")
    status: int = Field(description="HTTP status code.")
    detail: str = Field(description="Human-readable explanation of this occurrence.")
    request_id: str | None = Field(default=None, description="Include it when you report the error.")
    limit: LimitRead | None = Field(default=None, description="The limit, if the request would exceed one.")


class ValidationProblem(Problem):
    """A request that fails validation."""

    errors: list[InvalidField] = Field(default=[], description="One entry for each invalid field.")


def problem_for(error: Exception, request_id: str | None = None) -> Problem:
    """Return the problem that describes an exception to clients.

    An exception that is neither the service's own nor FastAPI's becomes a 500 that reveals nothing about it.
    """
    match error:
        case ServiceError():
            return Problem(
                type=error.type,
                title=error.title,
                status=error.status,
                detail=error.detail,
                request_id=request_id,
                limit=LimitRead.model_validate(error.limit) if error.limit else None,
            )
        case RequestValidationError():
            # FastAPI reports an error twice if a dependency reads the body too.
            errors = list({repr(item["loc"]) + item["type"]: _invalid_field(item) for item in error.errors()}.values())
            first = errors[0]
            return ValidationProblem(
                type=InvalidRequest.type,
                title=InvalidRequest.title,
                status=InvalidRequest.status,
                detail=f"{'.'.join(map(str, first.loc))}: {first.msg}",
                request_id=request_id,
                errors=errors,
            )
        case HTTPException():
            title = HTTPStatus(error.status_code).phrase
            return Problem(title=title, status=error.status_code, detail=str(error.detail), request_id=request_id)
        case _:
            return Problem(
                type="urn:problem:internal",
                title="Internal server error",
                status=500,
                detail="The error was recorded. Include the request id when you report it.",
                request_id=request_id,
            )


def _invalid_field(item: Mapping[str, Any]) -> InvalidField:
    # A field name from the client may be very long, or not encodable (a lone surrogate).
    loc = [part if isinstance(part, int) else _printable(part) for part in item["loc"]]
    message = item["msg"].removeprefix("Value error, ")
    if isinstance(item.get("input"), str):  # Pydantic counts the characters of a secret as items
        message = message.replace(" items after validation", " characters")
    return InvalidField(loc=loc, msg=_printable(message), type=item["type"])


def _printable(text: str, limit: int = 200) -> str:
    return text[:limit].encode("utf-8", "backslashreplace").decode()


# Returns the response for a problem, with headers, in the form of another protocol.
ErrorForm = Callable[[Problem, Mapping[str, str]], Response]


def error_response(error: Exception, scope: Scope) -> Response:
    """Return the response for an exception: a problem, or the form of the protocol that the path belongs to.

    `app.state.error_forms` has these forms, by the prefix of their paths.
    """
    path = route_path(scope)
    forms: Mapping[str, ErrorForm] = getattr(scope["app"].state, "error_forms", {})
    form = next((form for prefix, form in forms.items() if path.startswith(prefix)), None)
    request_id = scope.get("request_id")
    if form is None:
        return problem_response(error, request_id)
    return form(problem_for(error, request_id), getattr(error, "headers", None) or {})


def problem_response(error: Exception, request_id: str | None) -> Response:
    """Return the problem for an exception as a response."""
    problem = problem_for(error, request_id)
    headers = getattr(error, "headers", None)
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=problem.status,
        headers=headers,
        media_type=PROBLEM_JSON,
    )


def install_error_handlers(app: FastAPI) -> None:
    """Respond to every expected exception with a problem. `RequestContext` handles the unexpected ones."""

    def handle(request: Request, error: Exception) -> Response:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _DISK_FULL:
            # FastAPI spools a large upload to disk, and reports any failure while it reads a body as a 400.
            error = StorageFull(StorageFull.example_detail, retry_after=60)
        if isinstance(error, ServiceError) and error.status >= 500:
            logger.warning("{}: {}", type(error).__name__, error.detail)
        return error_response(error, request.scope)

    for kind in (ServiceError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def error_responses(*kinds: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses=` for the errors that an operation can raise.

    Each status gets a description, a reference to the schema (which `shared.app` adds to the document), and an example
    of each error.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        examples = {kind.__name__: {"summary": kind.title, "value": _example(kind)}}
        if kind.status in responses:
            responses[kind.status]["description"] += f"; or: {kind.title}"
            responses[kind.status]["content"][PROBLEM_JSON]["examples"] |= examples
        else:
            model = ValidationProblem if kind.status == 422 else Problem
            content = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}, "examples": examples}
            responses[kind.status] = {"description": kind.title, "content": {PROBLEM_JSON: content}}
    return responses


def _example(kind: type[ServiceError]) -> dict[str, Any]:
    problem = Problem(
        type=kind.type, title=kind.title, status=kind.status, detail=kind.example_detail, request_id=_EXAMPLE_ID
    )
    return problem.model_dump(exclude={"limit"}) | ({"errors": [_EXAMPLE_FIELD]} if kind is InvalidRequest else {})
