"""Errors in the form of OpenAI's API, and the parameters that are refused or ignored."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
from fastapi import Response
from fastapi.exceptions import RequestValidationError

from project4_agent_api.core.serialization import JsonResponse
from shared import errors
from shared.errors import NotFound, ServiceError
from shared.problems import Problem, ValidationProblem, problem_for

IGNORED_HEADER = "X-Ignored-Parameters"
_INVALID, _QUOTA, _SERVER = 422, 507, 500
_STATUSES = {_INVALID: 400, _QUOTA: 429}
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    "about:blank": "bad_request",
    "urn:problem:input-filtered": "content_filter",
    "urn:problem:input-too-long": "context_length_exceeded",
    "urn:problem:invalid-request": "invalid_value",
    "urn:problem:storage-quota": "insufficient_quota",
    "urn:problem:too-many-requests": "rate_limit_exceeded",
    "urn:problem:unauthorized": "invalid_api_key",
}


def error_response(problem: Problem, headers: Mapping[str, str]) -> Response:
    """Return a problem as a response of OpenAI's API, whose clients repeat requests by its status."""
    status = _STATUSES.get(problem.status, problem.status)
    repeats = {} if problem.status != _QUOTA else {"X-Should-Retry": "false"}
    return JsonResponse(error_body(problem), status_code=status, headers={**headers, **repeats})


def error_body(problem: Problem) -> dict[str, Any]:
    """Return a problem as the body of an error."""
    field = problem.errors[0] if isinstance(problem, ValidationProblem) and problem.errors else None
    param = ".".join(map(str, field.loc[1:])) if field else ""
    status = _STATUSES.get(problem.status, problem.status)
    kind = _TYPES.get(status, "invalid_request_error" if status < _SERVER else "server_error")
    code = _CODES.get(problem.type, problem.type.rpartition(":")[2].replace("-", "_"))
    if field and field.type in (UNSUPPORTED, "extra_forbidden"):
        code = UNSUPPORTED if field.type == UNSUPPORTED else "unknown_parameter"
    message = f"{param}: {field.msg}" if field and param else problem.detail
    return {"error": {"message": message, "type": kind, "param": param or None, "code": code}}


def encode_error(error: ServiceError, request_id: str | None) -> bytes:
    """Return an error as the last event of a stream."""
    return b"data: " + orjson.dumps(error_body(problem_for(error, request_id))) + b"\n\n"


UNSUPPORTED = "unsupported_parameter"


def unsupported(param: str, reason: str) -> RequestValidationError:
    """Return the error of a parameter that cannot be honoured."""
    return RequestValidationError([{"type": UNSUPPORTED, "loc": ("body", *param.split(".")), "msg": reason}])


class ModelNotFound(NotFound):
    """No assistant has the name or the id of a request's `model`."""

    type = "urn:problem:model-not-found"
    title = "Model not found"
    example_detail = "There is no assistant with this id or name."


@contextmanager
def model_errors() -> Iterator[None]:
    """Raise `ModelNotFound` where the assistant is not found."""
    try:
        yield
    except NotFound as error:
        raise ModelNotFound(error.detail) from None


class RunFailed(ServiceError):
    """The run failed with an error of its own."""

    status = 500
    type = "urn:problem:run-failed"
    title = "The run failed"
    example_detail = "The run failed: KeyError: 'topic'"


class RunStopped(ServiceError):
    """The run was stopped by another client."""

    status = 500
    type = "urn:problem:run-stopped"
    title = "The run was stopped"
    example_detail = "The run was stopped by another client."


def run_error(error: Mapping[str, Any], *, stopped: bool) -> ServiceError:
    """Return the error of a run: one of this service's own has the same status as on other paths."""
    if stopped:
        return RunStopped("The run was stopped by another client.")
    name, message = error.get("error") or "Error", error.get("message") or "The run failed."
    kind = _OF_RUNS.get(name)
    return kind(message) if kind else RunFailed(f"{name}: {message}")


_OF_RUNS: Mapping[str, Callable[[str], ServiceError]] = {
    "InputFilteredByModel": errors.InputFilteredByModel,
    "InvalidRequest": errors.InvalidRequest,
    "InputKindNotSupported": errors.InputKindNotSupported,
    "InputTooLongForModel": errors.InputTooLongForModel,
    "ModelKeyRefused": errors.ModelUnavailable,
    "ModelMisconfigured": errors.ModelUnavailable,
    "ModelTimeout": errors.ModelTimeout,
    "ModelUnavailable": errors.ModelUnavailable,
}
