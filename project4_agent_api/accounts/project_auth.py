"""Custom authentication: the `Auth` object of LangGraph's SDK that a project's `langgraph.json` names.

Its `@auth.authenticate` handler replaces this service's accounts. Its `@auth.on` handlers decide what a user may do;
`authorization.py` calls them for each operation.
"""

import inspect
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from langgraph_sdk import Auth
from loguru import logger
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.types import Message, Receive

from project4_agent_api.accounts.handler_dependencies import HandlerDependencies
from project4_agent_api.accounts.principals import Principal
from project4_agent_api.core.project_user import ProjectUser
from project4_agent_api.core.visibility import Filter, owner_of_identity
from project4_agent_api.graphs.langgraph_json import Project
from project4_agent_api.models import AccountRole
from shared.errors import ConfigurationError, Forbidden, Unauthorized

_PARAMETERS = frozenset(
    (
        *("request", "body", "user", "path", "method", "scope", "scopes", "path_params", "query_params", "headers"),
        "authorization",
    )
)
_STUDIO_SCHEME = "langsmith"


@dataclass(frozen=True)
class ProjectAuth:
    """The handlers of a project.

    Attributes:
        parameters: Names of the parameters of its `@auth.authenticate` handler, except dependencies.
        dependencies: The handler's parameters with a `Depends` of FastAPI.
        allow_studio: Whether Studio may connect without the project's credentials, from this machine.
    """

    auth: Auth
    parameters: frozenset[str]
    dependencies: HandlerDependencies
    allow_studio: bool

    STORE_ACTIONS: ClassVar = ("put", "get", "search", "list_namespaces", "delete")

    @classmethod
    def load(cls, project: Project, *, production: bool) -> "ProjectAuth | None":
        """Import the project's `Auth` object; None if its `langgraph.json` names none.

        Raises:
            ConfigurationError: with one line that names its fault.
        """
        part = project.file.auth
        if part is None:
            return None
        auth = project.import_object("auth.path", part.path, suggest=(Auth,))
        where = f"{project.path}: auth.path: {part.path}"
        if not isinstance(auth, Auth):
            raise ConfigurationError(f"{where} is {type(auth).__name__}, not an Auth of langgraph_sdk")
        handler = auth._authenticate_handler  # noqa: SLF001  there is no public accessor
        if handler is None:
            raise ConfigurationError(f"{where} has no @auth.authenticate handler")
        dependencies = HandlerDependencies.from_handler(handler, where)
        parameters = [
            parameter
            for parameter in inspect.signature(handler).parameters.values()
            if parameter.name not in dependencies
        ]
        unknown = [
            parameter.name
            for parameter in parameters
            if parameter.name not in _PARAMETERS and parameter.default is parameter.empty
        ]
        if unknown:
            raise ConfigurationError(f"{where}: its @auth.authenticate handler takes an unknown {unknown[0]!r}")
        names = frozenset(parameter.name for parameter in parameters) & _PARAMETERS
        return cls(auth, names, dependencies, allow_studio=not part.disable_studio_auth and not production)

    @property
    def shares_store(self) -> bool:
        """Whether the project's handlers for the store cover every operation, so that users may share items."""
        return all(self._own_handler("store", action) is not None for action in self.STORE_ACTIONS)

    async def authenticate(self, connection: HTTPConnection, receive: Receive) -> tuple[Principal, Receive]:
        """Return the principal of a request, and a `receive` that returns the body again if the handler has read it.

        Raises:
            Unauthorized, HTTPException: if the handler refuses the request.
        """
        if self.allow_studio and _is_local_studio(connection):
            return _principal(ProjectUser(Auth.types.StudioUser("langgraph-studio-user", True))), receive
        body = b""
        if "body" in self.parameters:
            body, receive = await _read_again(receive)
        user = await self._call(connection, body)

        async def is_still_accepted() -> bool:
            try:
                return (await self._call(connection, body)).identity == user.identity
            except Unauthorized:
                return False
            except HTTPException as error:
                return error.status_code != 403

        return _principal(user, is_still_accepted), receive

    async def _call(self, connection: HTTPConnection, body: bytes) -> ProjectUser:
        """Call the `@auth.authenticate` handler."""
        arguments = {name: value for name, value in _arguments(connection, body) if name in self.parameters}
        handler = cast("Callable[..., Any]", self.auth._authenticate_handler)  # noqa: SLF001  there is no public accessor
        try:
            async with self.dependencies.solved(connection) as solved:
                if inspect.iscoroutinefunction(inspect.unwrap(handler)) or inspect.iscoroutinefunction(handler):
                    value = await handler(**arguments, **solved)
                else:
                    value = await run_in_threadpool(handler, **arguments, **solved)
                    value = await value if inspect.isawaitable(value) else value
        except (Auth.exceptions.HTTPException, HTTPException) as error:
            raise _refusal(error) from None
        except AssertionError as error:
            raise Unauthorized(str(error) or "The credentials of this request are not valid.") from None
        if value is None:
            raise Unauthorized("The credentials of this request are not valid.")
        if isinstance(value, tuple) and len(value) == 2:  # the older form
            return ProjectUser(value[1], value[0])
        return ProjectUser(value)

    async def authorize(self, principal: Principal, resource: str, action: str, value: dict[str, Any]) -> Filter | None:
        """Call the most specific handler of an operation.

        Args:
            value: The operation's payload. A handler may change it.

        Returns:
            A filter on metadata, which may be empty; None if there is no handler.

        Raises:
            Forbidden, Unauthorized, HTTPException: if the handler refuses the operation.
        """
        handler = self._handler(resource, action)
        user = principal.project_user
        if handler is None or user is None:
            return None
        context = Auth.types.AuthContext(
            permissions=user.permissions,
            user=user.for_handlers(),
            resource=resource,  # type: ignore[arg-type]  # one of the names in the table of operations
            action=action,  # type: ignore[arg-type]  # likewise
        )
        try:
            result = await handler(ctx=context, value=value)
        except (Auth.exceptions.HTTPException, HTTPException) as error:
            raise _refusal(error) from None
        except AssertionError as error:
            raise Forbidden(str(error) or "This is not allowed.") from None
        if result is False:
            raise Forbidden("This is not allowed.")
        if result is None or result is True:
            return {}
        if not isinstance(result, Mapping):
            raise TypeError(f"the handler of {resource}.{action} returned {type(result).__name__}, not a filter")
        return result

    def covers(self, resource: str, action: str) -> bool:
        """Return whether the project has a handler for this resource itself, not only one for everything."""
        return self._own_handler(resource, action) is not None

    def _handler(self, resource: str, action: str) -> Callable[..., Any] | None:
        if own := self._own_handler(resource, action):
            return own
        for key in (("*", action), ("*", "*")):
            if found := self.auth._handlers.get(key):  # noqa: SLF001  there is no public accessor
                return found[-1]
        general = self.auth._global_handlers  # noqa: SLF001  there is no public accessor
        return general[-1] if general else None

    def _own_handler(self, resource: str, action: str) -> Callable[..., Any] | None:
        handlers = self.auth._handlers  # noqa: SLF001  there is no public accessor
        for key in ((resource, action), (resource, "*")):
            if found := handlers.get(key):
                return found[-1]
        return None


def _principal(user: ProjectUser, is_still_accepted: Callable[[], Awaitable[bool]] | None = None) -> Principal:
    return Principal(
        owner_of_identity(user.identity),
        AccountRole.USER,
        user.display_name,
        "project",
        project_user=user,
        is_still_accepted=is_still_accepted,
    )


def _is_local_studio(connection: HTTPConnection) -> bool:
    """Return whether a request is from Studio, in a browser on this machine."""
    host = connection.client.host if connection.client else ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    return local and connection.headers.get("x-auth-scheme") == _STUDIO_SCHEME


def _arguments(connection: HTTPConnection, body: bytes) -> list[tuple[str, Any]]:
    scope = connection.scope
    request = Request(scope) if scope["type"] == "http" else None
    return [
        ("request", request),
        ("body", _json_or_none(body)),
        ("user", None),
        ("path", scope["path"]),
        ("method", scope.get("method", "GET")),
        ("scope", scope),
        ("scopes", []),
        ("path_params", scope.get("path_params") or {}),
        ("query_params", QueryParams(scope.get("query_string", b""))),
        ("headers", dict(scope["headers"])),
        ("authorization", connection.headers.get("authorization")),
    ]


def _json_or_none(body: bytes) -> Any:  # noqa: ANN401  any JSON
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


async def _read_again(receive: Receive) -> tuple[bytes, Receive]:
    """Read a request's body, and return it with a `receive` that returns it again."""
    messages: list[Message] = []
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    body = b"".join(message.get("body", b"") for message in messages)

    async def receive_again() -> Message:
        return messages.pop(0) if messages else await receive()

    return body, receive_again


def _refusal(error: "Auth.exceptions.HTTPException | HTTPException") -> Exception:
    headers = dict(error.headers) if error.headers else None
    detail = str(error.detail or "The request was refused.")
    if error.status_code == 401:
        unauthorized = Unauthorized(detail)
        unauthorized.headers = headers or unauthorized.headers
        return unauthorized
    if not 400 <= error.status_code <= 599:
        logger.error("a handler of the project refused a request with status {}", error.status_code)
        return HTTPException(500)
    return HTTPException(error.status_code, detail, headers)
