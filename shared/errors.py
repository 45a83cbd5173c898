"""The exceptions of the service. `shared.problems` turns them into responses.

ServiceError                    an error response
├── UnreadableBody         400  the body cannot be parsed
├── Unauthorized           401  missing or invalid credentials
├── Forbidden              403  the caller lacks permission
├── NotFound               404  no such resource
├── Conflict               409  the request conflicts with the current state
├── PreconditionFailed     412  the resource has changed since the client read it
├── RequestBodyTooLarge    413  the body exceeds the limit
├── UnsupportedMediaType   415  a type of file that is not supported
├── InvalidRequest         422  the request fails validation
├── InputTooLongForModel   422  the request exceeds the model's context
├── InputFilteredByModel   422  the model endpoint's content filter rejects the request
├── InputKindNotSupported  422  no model takes a kind of content in the request, such as images
├── IdempotencyKeyReused   422  the idempotency key belongs to another request
├── TooManyRequests        429  a rate limit is exceeded
├── ClientClosedRequest    499  the client disconnected; for the log only
├── StorageQuotaExceeded   507  the caller stores as much as one user may
├── Unavailable            503  a dependency is temporarily unavailable
│   ├── ModelUnavailable        the model endpoint is unreachable or fails
│   │   └── ModelMisconfigured  it refuses this service's calls until an operator acts
│   ├── ModelKeyRefused         it refuses the key for all models
│   ├── DatabaseUnavailable     the database is unreachable or overloaded
│   ├── RedisUnavailable        Redis is unreachable or overloaded
│   ├── QueueFull               too many jobs are waiting
│   ├── StorageFull             a disk is full
│   └── NotReady                the service cannot serve requests now
└── ModelTimeout           504  the model endpoint does not answer in time
ConfigurationError              the process must not start
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from starlette.exceptions import HTTPException


class ConfigurationError(Exception):
    """The settings do not allow a start. The message is one line without secrets, for the operator."""


@dataclass(frozen=True)
class Limit:
    """A limit that a request would exceed.

    Attributes:
        name: The setting that sets it, in lower case.
        maximum: The maximum value that the limit allows.
        used: The caller's current usage.
    """

    name: str
    maximum: int
    used: int


class ServiceError(Exception):
    """An error response. Subclasses fix `status`, `type` and `title`; each instance has its own `detail`.

    Args:
        detail: One or two sentences for the client, never the text of a library's exception.
        headers: Sent with the response.
    """

    status: ClassVar[int]
    type: ClassVar[str]
    title: ClassVar[str]
    example_detail: ClassVar[str]  # shown in the OpenAPI document

    headers: Mapping[str, str] | None
    limit: Limit | None = None

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        Exception.__init__(self, detail)
        self.detail = detail
        self.headers = headers


class UnreadableBody(ServiceError):
    """The body is not text, or nested too deeply. FastAPI responds with it itself; this class documents it."""

    status = 400
    type = "about:blank"
    title = "Bad Request"
    example_detail = "There was an error parsing the body"


class Unauthorized(ServiceError):
    """The request has no credentials, or they are invalid or expired."""

    status = 401
    type = "urn:problem:unauthorized"
    title = "Authentication required"
    example_detail = "The token is not valid. Sign in again."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ServiceError):
    """The caller is authenticated, but lacks permission."""

    status = 403
    type = "urn:problem:forbidden"
    title = "Forbidden"
    example_detail = "This is for administrators."


class MisdirectedRequest(ServiceError):
    """The request is for a host that this service does not serve (RFC 9110, section 15.5.20)."""

    status = 421
    type = "urn:problem:misdirected-request"
    title = "Misdirected request"
    example_detail = "Only localhost is served here."


class NotFound(ServiceError):
    """The resource does not exist, or belongs to another owner."""

    status = 404
    type = "urn:problem:not-found"
    title = "Not found"
    example_detail = "There is no user with this id."


class Conflict(ServiceError):
    """The request conflicts with the current state."""

    status = 409
    type = "urn:problem:conflict"
    title = "Conflict"
    example_detail = "There is an account with this e-mail already."


class PreconditionFailed(ServiceError):
    """The resource has changed since the client read it."""

    status = 412
    type = "urn:problem:precondition-failed"
    title = "Precondition failed"
    example_detail = "The version in If-Match is not the current one. Read it again."


class RequestBodyTooLarge(ServiceError, HTTPException):
    """The body exceeds the limit. The rest of it is not read, so the connection is closed.

    Also an `HTTPException`: FastAPI turns any other exception raised while it reads a body into a 400.
    """

    status = 413
    type = "urn:problem:body-too-large"
    title = "Payload too large"
    example_detail = "The limit is 1,048,576 bytes."

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The limit is {limit_bytes:,} bytes.", headers={"Connection": "close"})
        self.status_code = self.status


class UnsupportedMediaType(ServiceError):
    """A file of an unsupported type."""

    status = 415
    type = "urn:problem:unsupported-media-type"
    title = "Unsupported media type"
    example_detail = "Supported types are pdf, docx, pptx, xlsx, odt, epub, eml, csv, html, md and txt."


class InvalidRequest(ServiceError):
    """The request fails validation. Most are raised by Pydantic as `RequestValidationError`."""

    status = 422
    type = "urn:problem:invalid-request"
    title = "Invalid request"
    example_detail = "body.question: must not be blank"


class InputTooLongForModel(ServiceError):
    """The model endpoint rejected the request because it exceeds the model's context."""

    status = 422
    type = "urn:problem:input-too-long"
    title = "Input too long for the model"
    example_detail = "The request does not fit into the model's context. Make it shorter."


class InputFilteredByModel(ServiceError):
    """The content filter of the model endpoint rejected the request."""

    status = 422
    type = "urn:problem:input-filtered"
    title = "Input rejected by the content filter"
    example_detail = "The model endpoint's content filter rejects the request. Change its wording."


class InputKindNotSupported(ServiceError):
    """No model takes a kind of content in the request, such as images."""

    status = 422
    type = "urn:problem:input-kind-not-supported"
    title = "Kind of input not supported by the model"
    example_detail = "The model takes no images, sound or files. Send text."


class IdempotencyKeyReused(ServiceError):
    """An `Idempotency-Key` was already used with a different request."""

    status = 422
    type = "urn:problem:idempotency-key-reused"
    title = "Idempotency key reused"
    example_detail = "This Idempotency-Key came with another request before."


class TooManyRequests(ServiceError):
    """A rate limit is exceeded.

    Args:
        retry_after: Seconds until a retry can succeed.
        headers: Further headers that describe the limit.
        limit: The limit, if a setting sets it.
    """

    status = 429
    type = "urn:problem:too-many-requests"
    title = "Too many requests"
    example_detail = "Too many attempts. Try again in 30 seconds."

    def __init__(
        self,
        detail: str,
        *,
        retry_after: int,
        headers: Mapping[str, str] | None = None,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after), **(headers or {})})
        self.limit = limit


class ClientClosedRequest(ServiceError):
    """The client disconnected before the response was ready. 499 is nginx's status for it; no client receives it."""

    status = 499
    type = "urn:problem:client-closed-request"
    title = "Client closed request"
    example_detail = "The work for this request was stopped."

    def __init__(self) -> None:
        super().__init__(self.example_detail)


class StorageQuotaExceeded(ServiceError):
    """The caller stores as much as one user may. Waiting does not help."""

    status = 507
    type = "urn:problem:storage-quota"
    title = "Storage quota exceeded"
    example_detail = (
        "Your data take 1,073,750,016 of 1,073,741,824 bytes. Delete some; `GET /auth/me/usage` shows them."
    )

    def __init__(self, limit: Limit) -> None:
        super().__init__(
            f"Your data take {limit.used:,} of {limit.maximum:,} bytes. Delete some; `GET /auth/me/usage` shows them."
        )
        self.limit = limit


class Unavailable(ServiceError):
    """A dependency is temporarily unavailable.

    Args:
        retry_after: Seconds until a retry makes sense; None if waiting does not help.
    """

    status = 503

    def __init__(self, detail: str, *, retry_after: int | None = 5) -> None:
        super().__init__(detail, headers=None if retry_after is None else {"Retry-After": str(retry_after)})


class ModelUnavailable(Unavailable):
    """The model endpoint is unreachable, refuses the call, or returns an invalid response."""

    type = "urn:problem:model-unavailable"
    title = "Language model unavailable"
    example_detail = "The model endpoint could not be reached. Try again shortly."


class ModelMisconfigured(ModelUnavailable):
    """The endpoint refuses this service's calls until an operator acts: waiting does not help, another model may.

    Args:
        restart: Whether this service's settings have to be changed, and not only something at the endpoint.
    """

    def __init__(self, detail: str, *, restart: bool) -> None:
        super().__init__(detail, retry_after=None)
        self.restart = restart


class ModelKeyRefused(Unavailable):
    """The endpoint refuses this service's key. Clients see a `ModelUnavailable`, but no fallback model can help."""

    type = ModelUnavailable.type
    title = ModelUnavailable.title
    example_detail = "The model endpoint refuses this service's key."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after=None)


class DatabaseUnavailable(Unavailable):
    """The database is unreachable or overloaded."""

    type = "urn:problem:database-unavailable"
    title = "Database unavailable"
    example_detail = "The database cannot be reached. Try again shortly."


class RedisUnavailable(Unavailable):
    """Redis is unreachable or overloaded."""

    type = "urn:problem:redis-unavailable"
    title = "Redis unavailable"
    example_detail = "Redis cannot be reached. Try again shortly."


class QueueFull(Unavailable):
    """More work is waiting than the service accepts."""

    type = "urn:problem:queue-full"
    title = "Queue full"
    example_detail = "Too many jobs are waiting. Try again shortly."


class StorageFull(Unavailable):
    """A disk of the service has no space for the upload."""

    type = "urn:problem:storage-full"
    title = "Insufficient storage"
    example_detail = "There is no space left on the server. Try again shortly."


class NotReady(Unavailable):
    """The service cannot serve requests now; a load balancer should route them elsewhere."""

    type = "urn:problem:not-ready"
    title = "Service not ready"
    example_detail = "Not reachable: database."


class ModelTimeout(ServiceError):
    """The model endpoint was reached, but did not answer in time."""

    status = 504
    type = "urn:problem:model-timeout"
    title = "Language model timed out"
    example_detail = "The model took too long. Try again, or ask for a shorter answer."


MODEL_ERRORS = (InputTooLongForModel, InputFilteredByModel, ModelUnavailable, ModelTimeout)
