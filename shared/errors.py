"""Every error that a client can meet, and the one place that turns it into an answer.

    ServiceError                    an answer other than success, known where it is raised
    ├── UnreadableBody         400  the body cannot be parsed at all
    ├── Unauthorized           401  whoever asks has not shown who they are
    ├── Forbidden              403  whoever asks may not do this
    ├── InvalidRequest         422  the request has not the documented form
    ├── RequestBodyTooLarge    413  the body is over the limit
    ├── UnsupportedMediaType   415  a file of a kind that is not taken
    ├── InputTooLongForModel   422  the model's context cannot hold the request
    ├── ModelUnavailable       503  the model endpoint cannot be reached, or fails
    ├── ModelTimeout           504  the model endpoint does not answer in time
    ├── NotFound               404  there is no such thing
    ├── Conflict               409  it would contradict what is there
    ├── IdempotencyKeyReused   422  the key of another request
    ├── PreconditionFailed     412  it was changed since the client read it
    ├── TooManyRequests        429  too often; later it will do
    ├── NotSupported           501  a part of a wider interface that is not built here
    ├── DatabaseUnavailable    503  the database is away, or has no time
    ├── RedisUnavailable       503  Redis is away, or has no time
    ├── QueueFull              503  more work waits than the service takes on
    ├── StorageFull            503  there is no room on a disk
    ├── NotReady               503  something that the service needs is away
    └── ClientClosedRequest    499  nobody is left to answer; for the log only
    ConfigurationError              the process must not start: one line for whoever starts it

The shape is RFC 9457's `application/problem+json`.
"""

import errno
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from loguru import logger
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

PROBLEM_JSON = "application/problem+json"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_EXAMPLE_ID = "0f6c1c5e9a6b4d0f8a3a5f6f2c1d7e9b"


class ConfigurationError(Exception):
    """The settings do not allow a start. The message is one line and holds no secret."""


class InvalidField(BaseModel):
    """One thing that is wrong with a request."""

    loc: list[str | int] = Field(description="Where: `body`, `query`, `path` or `header`, then the way down.")
    msg: str
    type: str


class Problem(BaseModel):
    """An error, as RFC 9457 describes it."""

    type: str = Field(default="about:blank", description="What kind of error: a stable name to switch on.")
    title: str = Field(description="The kind in words; always the same for one `type`.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened this time, in words for a person.")
    request_id: str | None = Field(default=None, description="Quote it when you ask for help.")


class ValidationProblem(Problem):
    """A request that does not have the documented form."""

    errors: list[InvalidField] = Field(default=[], description="What is wrong, one entry for each place.")


class ServiceError(Exception):
    """An answer other than success. Subclasses fix what is always the same; `detail` is said each time.

    Args:
        detail: One or two sentences for the client. Never a library's text.
        headers: Sent with the answer.
    """

    status: ClassVar[int]
    type: ClassVar[str]
    title: ClassVar[str]
    usual_detail: ClassVar[str]  # for the documentation

    headers: Mapping[str, str] | None

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        Exception.__init__(self, detail)
        self.detail = detail
        self.headers = headers

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Return a problem of this kind, as a client would see it."""
        problem = Problem(
            type=cls.type, title=cls.title, status=cls.status, detail=cls.usual_detail, request_id=_EXAMPLE_ID
        )
        return problem.model_dump()


class RequestBodyTooLarge(ServiceError, HTTPException):
    """The body is over the limit. The rest of it is not read, so the connection ends.

    It is an `HTTPException` too because FastAPI turns every other exception that is raised while it reads a body
    into a 400.
    """

    status = 413
    type = "urn:problem:body-too-large"
    title = "The request body is too large"
    usual_detail = "The limit is 1,048,576 bytes."

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The limit is {limit_bytes:,} bytes.", headers={"Connection": "close"})
        self.status_code = self.status


class UnreadableBody(ServiceError):
    """The body is no text, or nested without end. FastAPI says so itself; this is its description."""

    status = 400
    type = "about:blank"
    title = "Bad Request"
    usual_detail = "There was an error parsing the body"


class Unauthorized(ServiceError):
    """Whoever asks has not shown who they are, or with something that is not good any more."""

    status = 401
    type = "urn:problem:unauthorized"
    title = "Who is asking?"
    usual_detail = "The token is not valid. Sign in again."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ServiceError):
    """Whoever asks is known, and may not do this."""

    status = 403
    type = "urn:problem:forbidden"
    title = "Not allowed"
    usual_detail = "This is for administrators."


class InvalidRequest(ServiceError):
    """The request has not the documented form. Pydantic says so itself; this is its description."""

    status = 422
    type = "urn:problem:invalid-request"
    title = "The request is not valid"
    usual_detail = "body.question: must not be blank"

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Return a problem of this kind, as a client would see it."""
        place = {"loc": ["body", "question"], "msg": "must not be blank", "type": "value_error"}
        return super().example() | {"errors": [place]}


class UnsupportedMediaType(ServiceError):
    """A file of a kind that is not taken."""

    status = 415
    type = "urn:problem:unsupported-media-type"
    title = "This kind of file is not taken"
    usual_detail = "Taken are pdf, docx, pptx, xlsx, csv, html, md and txt."


class InputTooLongForModel(ServiceError):
    """The endpoint says that the request does not fit into the model's context."""

    status = 422
    type = "urn:problem:input-too-long"
    title = "The input is too long for the model"
    usual_detail = "The request does not fit into the model's context. Make it shorter."


class Unavailable(ServiceError):
    """Something is away that will come back.

    Args:
        retry_after: Seconds after which another try makes sense.
    """

    status = 503

    def __init__(self, detail: str, *, retry_after: int = 5) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class ModelUnavailable(Unavailable):
    """The model endpoint cannot be reached, refuses the call, or answers something that is no answer."""

    type = "urn:problem:model-unavailable"
    title = "The language model is not available"
    usual_detail = "The model endpoint could not be reached. Try again shortly."


class ModelTimeout(ServiceError):
    """The model endpoint was reached, and did not answer in time."""

    status = 504
    type = "urn:problem:model-timeout"
    title = "The language model did not answer in time"
    usual_detail = "The model took too long. Try again, or ask for a shorter answer."


class DatabaseUnavailable(Unavailable):
    """The database is away, or has no time for this."""

    type = "urn:problem:database-unavailable"
    title = "The database is not available"
    usual_detail = "The database cannot be reached. Try again shortly."


class RedisUnavailable(Unavailable):
    """Redis is away, or has no time for this."""

    type = "urn:problem:redis-unavailable"
    title = "Redis is not available"
    usual_detail = "Redis cannot be reached. Try again shortly."


class QueueFull(Unavailable):
    """More work waits than the service takes on."""

    type = "urn:problem:queue-full"
    title = "The queue is full"
    usual_detail = "Too much waits already. Try again shortly."


class StorageFull(Unavailable):
    """There is no room on a disk of ours for what the client sent."""

    type = "urn:problem:storage-full"
    title = "There is no room"
    usual_detail = "There is no room for this at the moment. Try again shortly."


class TooManyRequests(ServiceError):
    """Too often. The same request will do later.

    Args:
        retry_after: Seconds after which another try makes sense.
        headers: What else there is to say about the limit.
    """

    status = 429
    type = "urn:problem:too-many-requests"
    title = "Too many requests"
    usual_detail = "Too many attempts. Try again in 30 seconds."

    def __init__(self, detail: str, *, retry_after: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after), **(headers or {})})


class NotSupported(ServiceError):
    """A part of a wider interface that is not built here."""

    status = 501
    type = "urn:problem:not-supported"
    title = "Not supported"
    usual_detail = "This service does not do that."


class NotFound(ServiceError):
    """There is no such thing, or it is somebody else's."""

    status = 404
    type = "urn:problem:not-found"
    title = "Not found"
    usual_detail = "There is no user with this id."


class IdempotencyKeyReused(ServiceError):
    """An `Idempotency-Key` that came with another request before."""

    status = 422
    type = "urn:problem:idempotency-key-reused"
    title = "The idempotency key was used for another request"
    usual_detail = "This Idempotency-Key came with another request before."


class Conflict(ServiceError):
    """It would contradict what is there."""

    status = 409
    type = "urn:problem:conflict"
    title = "In conflict with what is there"
    usual_detail = "There is an account with this e-mail already."


class PreconditionFailed(ServiceError):
    """It was changed since the client read it."""

    status = 412
    type = "urn:problem:precondition-failed"
    title = "It has changed meanwhile"
    usual_detail = "The version that If-Match names is not the present one. Read it again."


class NotReady(Unavailable):
    """The service cannot serve now; a load balancer should send requests elsewhere."""

    type = "urn:problem:not-ready"
    title = "The service is not ready"
    usual_detail = "Not reachable: database."


class ClientClosedRequest(ServiceError):
    """The client went away before the answer was there. 499 is nginx's number for it; no client ever sees it."""

    status = 499
    type = "urn:problem:client-closed-request"
    title = "The client went away"
    usual_detail = "The work for this request was stopped."

    def __init__(self) -> None:
        super().__init__("The work for this request was stopped.")


def problem_of(error: Exception, request_id: str | None = None) -> Problem:
    """Say what a client may know of an exception.

    Of an exception that is not one of ours, and not FastAPI's own, it may know nothing but that it happened.
    """
    match error:
        case ServiceError():
            return Problem(
                type=error.type,
                title=error.title,
                status=error.status,
                detail=error.detail,
                request_id=request_id,
            )
        case RequestValidationError():
            # A body that a dependency reads too is checked twice.
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
                title="Something went wrong on our side",
                status=500,
                detail="The error was recorded. Quote the request id when you report it.",
                request_id=request_id,
            )


def _invalid_field(item: Mapping[str, Any]) -> InvalidField:
    # What the client sent may be no text at all (a lone surrogate as a field's name), or endless.
    loc = [part if isinstance(part, int) else _printable(part) for part in item["loc"]]
    return InvalidField(loc=loc, msg=_printable(item["msg"].removeprefix("Value error, ")), type=item["type"])


def _printable(text: str, limit: int = 200) -> str:
    return text[:limit].encode("utf-8", "backslashreplace").decode()


def problem_response(error: Exception, request_id: str | None) -> Response:
    """Render an exception as the answer to a request."""
    problem = problem_of(error, request_id)
    headers = getattr(error, "headers", None)
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=problem.status,
        headers=headers,
        media_type=PROBLEM_JSON,
    )


def install_error_handler(app: FastAPI) -> None:
    """Answer every exception with a problem. Those that nobody expected arrive from `RequestContext`."""

    def handle(request: Request, error: Exception) -> Response:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
            # A file that was too large for memory. FastAPI says 400, as of all that fails while it reads a body.
            error = StorageFull(StorageFull.usual_detail, retry_after=60)
        if isinstance(error, ServiceError) and error.status >= 500:
            logger.warning("{}: {}", type(error).__name__, error.detail)
        return problem_response(error, request.scope.get("request_id"))

    for kind in (ServiceError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def documented(*kinds: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """Describe errors for an operation's `responses=`.

    Args:
        kinds: The exceptions that the operation can raise.

    Returns:
        For each status a description, the schema (which `shared.app` adds to the document) and an example of each kind.
    """
    described: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        examples = {kind.__name__: {"summary": kind.title, "value": kind.example()}}
        if kind.status in described:
            described[kind.status]["description"] += f"; or: {kind.title}"
            described[kind.status]["content"][PROBLEM_JSON]["examples"] |= examples
        else:
            model = ValidationProblem if kind.status == 422 else Problem
            content = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}, "examples": examples}
            described[kind.status] = {"description": kind.title, "content": {PROBLEM_JSON: content}}
    return described
