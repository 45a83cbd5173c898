"""Errors in the form of OAuth (RFC 6749, section 5.2), below `/oauth/`."""

from collections.abc import Mapping

from fastapi import Response
from starlette.responses import JSONResponse

from shared.errors import ServiceError
from shared.problems import Problem

_PREFIX = "urn:problem:oauth:"
_INVALID, _TOO_MANY, _SERVER = 422, 429, 500
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class InvalidClient(ServiceError):
    """The client is not registered, or not any more. Clients register again."""

    status = 401
    type = f"{_PREFIX}invalid_client"
    title = "Unknown client"
    example_detail = "There is no client with this id. Register again."


class InvalidGrant(ServiceError):
    """A code or a refresh token is not valid."""

    status = 400
    type = f"{_PREFIX}invalid_grant"
    title = "Invalid grant"
    example_detail = "The code is not valid. Sign in again."


class InvalidScope(ServiceError):
    """A client asks for more than it may get."""

    status = 400
    type = f"{_PREFIX}invalid_scope"
    title = "Invalid scope"
    example_detail = "There is no such scope."


class InvalidTarget(ServiceError):
    """A client asks for a token for something else than `/mcp` (RFC 8707)."""

    status = 400
    type = f"{_PREFIX}invalid_target"
    title = "Invalid target"
    example_detail = "Tokens are for http://127.0.0.1:8004/mcp only."


class UnsupportedGrantType(ServiceError):
    """A client uses another flow."""

    status = 400
    type = f"{_PREFIX}unsupported_grant_type"
    title = "Unsupported grant type"
    example_detail = "grant_type is authorization_code or refresh_token."


class InvalidRedirectUri(ServiceError):
    """A client may not be redirected to this address."""

    status = 400
    type = f"{_PREFIX}invalid_redirect_uri"
    title = "Invalid redirect URI"
    example_detail = "The client has not registered this redirect_uri."


class InvalidClientMetadata(ServiceError):
    """A registration is refused."""

    status = 400
    type = f"{_PREFIX}invalid_client_metadata"
    title = "Invalid client metadata"
    example_detail = "client_name must not contain control characters."


def error_response(problem: Problem, headers: Mapping[str, str]) -> Response:
    """Return a problem as a response in OAuth's form."""
    if problem.type.startswith(_PREFIX):
        code = problem.type.removeprefix(_PREFIX)
    else:
        is_temporary = problem.status == _TOO_MANY or problem.status >= _SERVER
        code = "temporarily_unavailable" if is_temporary else "invalid_request"
    status = 400 if problem.status == _INVALID else problem.status
    body = {"error": code, "error_description": problem.detail}
    return JSONResponse(body, status_code=status, headers={**headers, **NO_STORE})
