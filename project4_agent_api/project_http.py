"""The `http` key of a project: its own application, headers, and routes that are left out.

The project's routes come before this service's, except for the operators' (`_OPERATORS`). Its middleware wraps all
requests, as in LangGraph's server; with `"middleware_order": "auth_first"` a request is authenticated before.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from project4_agent_api.accounts.guards import authenticate
from project4_agent_api.core.run_context import set_headers
from project4_agent_api.graphs.langgraph_json import Project
from project4_agent_api.graphs.project_file import CorsPart, HeaderPatterns, HttpPart
from shared.errors import ConfigurationError, NotFound, ServiceError
from shared.origins import Origins
from shared.paths import route_path
from shared.problems import problem_response

# Paths that a project's routes cannot replace.
_OPERATORS = frozenset(("/health", "/ready", "/ok", "/metrics", "/docs", "/openapi.json"))
_DOCUMENTATION = ("openapi", "swagger_ui_html", "swagger_ui_redirect", "redoc_html")
_LANGGRAPH = re.compile(r"/(assistants|threads|runs|store)(/|$)")
# Headers never passed to graphs, even if a pattern matches them.
_CREDENTIALS = frozenset(("authorization", "cookie", "x-api-key", "x-service-key", "x-tenant-id"))


def load_app(project: Project) -> Starlette | None:
    """Import the project's application; None if it has none.

    Raises:
        ConfigurationError: with one line that names its fault.
    """
    source = project.file.http.app
    if source is None:
        return None
    app = project.import_object("http.app", source, suggest=(Starlette,))
    if not isinstance(app, Starlette):
        raise ConfigurationError(
            f"{project.path}: http.app: {source} is {type(app).__name__}, not an application of FastAPI or Starlette"
        )
    return app


def running(project_app: Starlette) -> Callable[[FastAPI], Any]:
    """Return a resource that runs the lifespan of a project's application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with project_app.router.lifespan_context(project_app) as state:
            app.state.project_lifespan_state = dict(state or {})
            yield

    return lifespan


def install(app: FastAPI, http: HttpPart, project_app: Starlette | None) -> None:
    """Add a project's middleware and routes to this service's application."""
    outermost: list[Middleware] = []
    if http.mount_prefix:
        outermost.append(Middleware(MountPrefix, prefix=http.mount_prefix))
    of_project = _move_out_middleware(project_app) if project_app is not None else []
    routes = _own_routes(project_app)
    if http.middleware_order == "auth_first":
        guarded = routes if http.enable_custom_route_auth else ()
        outermost.append(Middleware(AuthenticateFirst, service=app, guarded=guarded))
    ours = [_with_cors(middleware, http.cors) for middleware in app.user_middleware]
    if http.cors:  # browsers do not ask before they open a WebSocket or post plain text
        app.state.origins = Origins(tuple(http.cors.allow_origins), http.cors.allow_origin_regex)
    if http.configurable_headers:
        ours.append(Middleware(ConfigurableHeaders, patterns=http.configurable_headers))
    if project_app is not None:
        ours.append(
            Middleware(
                ProjectRoutes,
                service=app,
                project_app=project_app,
                routes=routes,
                authenticated=http.enable_custom_route_auth,
            )
        )
    app.user_middleware = [*outermost, *of_project, *ours]


def _move_out_middleware(project_app: Starlette) -> list[Middleware]:
    """Return a project's middleware, and leave it out when its application is called.

    The application still lists it: a process may serve a project more than once.
    """
    middleware, project_app.user_middleware = project_app.user_middleware, []
    project_app.middleware_stack = project_app.build_middleware_stack()
    project_app.user_middleware = middleware
    return list(middleware)


def extend_openapi(document: dict[str, Any], project_app: Starlette | None) -> None:
    """Add the operations of a project's FastAPI application to the OpenAPI document."""
    if not isinstance(project_app, FastAPI):
        return
    own = project_app.openapi()
    document["paths"] = {**document["paths"], **own.get("paths", {})}
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in own.get("components", {}).get("schemas", {}).items():
        schemas.setdefault(name, schema)


def _with_cors(middleware: Middleware, cors: CorsPart | None) -> Middleware:
    if cors is None or cast("object", middleware.cls) is not CORSMiddleware:
        return middleware
    return Middleware(CORSMiddleware, **cors.model_dump(exclude_unset=True))


def _own_routes(project_app: Starlette | None) -> list[BaseRoute]:
    """Return a project's routes, without the documentation that FastAPI adds to each application."""
    routes = project_app.router.routes if project_app is not None else []
    if not isinstance(project_app, FastAPI):
        return list(routes)
    return [route for route in routes if getattr(route, "name", None) not in _DOCUMENTATION]


def _match(routes: Sequence[BaseRoute], scope: Scope) -> bool:
    if route_path(scope) in _OPERATORS:
        return False
    return any(route.matches(scope)[0] == Match.FULL for route in routes)


class ProjectRoutes:
    """Serves the routes of a project's application, and passes other requests on.

    Args:
        service: This service's application.
        authenticated: Whether the project's routes need authentication.
    """

    def __init__(
        self, app: ASGIApp, service: FastAPI, project_app: Starlette, routes: Sequence[BaseRoute], authenticated: bool
    ) -> None:
        self._app = app
        self._service = service
        self._project_app = project_app
        self._routes = routes
        self._authenticated = authenticated

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] not in ("http", "websocket") or not _match(self._routes, scope):
            await self._app(scope, receive, send)
            return
        if self._authenticated:
            authenticated = await _authenticate(self._service, scope, receive, send)
            if authenticated is None:
                return
            receive = authenticated
        state = scope.setdefault("state", {})
        state.update(self._service.state.project_lifespan_state)
        await self._project_app(scope, receive, send)


class AuthenticateFirst:
    """Authenticates requests before the project's middleware sees them.

    Args:
        service: This service's application.
        guarded: The project's routes that need authentication; LangGraph's always do.
    """

    def __init__(self, app: ASGIApp, service: FastAPI, guarded: Sequence[BaseRoute]) -> None:
        self._app = app
        self._service = service
        self._guarded = guarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] in ("http", "websocket") and scope.get("method") != "OPTIONS":
            path = route_path(scope)
            if _LANGGRAPH.match(path) or _match(self._guarded, scope):
                authenticated = await _authenticate(self._service, scope, receive, send)
                if authenticated is None:
                    return
                receive = authenticated
        await self._app(scope, receive, send)


async def _authenticate(service: FastAPI, scope: Scope, receive: Receive, send: Send) -> Receive | None:
    """Authenticate a request, and set `request.user` and `request.auth`. Send the response if it is refused."""
    connection = HTTPConnection({**scope, "app": service})
    try:
        principal, _, receive = await authenticate(connection, receive)
    except (ServiceError, HTTPException) as error:
        await problem_response(error, scope.get("request_id"))(scope, receive, send)
        return None
    scope["user"] = principal.user
    scope["auth"] = AuthCredentials(principal.user.permissions)
    return receive


class ConfigurableHeaders:
    """Gives graphs the headers that match a project's patterns, as `config["configurable"]`."""

    def __init__(self, app: ASGIApp, patterns: HeaderPatterns) -> None:
        self._app = app
        self._includes = [_pattern(pattern) for pattern in patterns.includes]
        self._excludes = [_pattern(pattern) for pattern in patterns.excludes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] in ("http", "websocket"):
            set_headers(self._selected(Headers(scope=scope)))
        await self._app(scope, receive, send)

    def _selected(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in headers.items() if self._is_selected(name)}

    def _is_selected(self, name: str) -> bool:
        if name in _CREDENTIALS or any(pattern.fullmatch(name) for pattern in self._excludes):
            return False
        return any(pattern.fullmatch(name) for pattern in self._includes)


def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in glob.lower().split("*")), re.DOTALL)


class MountPrefix:
    """Serves everything below a prefix, and the probes of operators without it, too."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] in ("http", "websocket"):
            root_path, path = scope.get("root_path", ""), route_path(scope)
            if path == self._prefix or path.startswith(f"{self._prefix}/"):
                scope = {**scope, "root_path": root_path + self._prefix}
                if not scope["path"].startswith(scope["root_path"]):  # a server that leaves the root path out
                    scope["path"] = root_path + scope["path"]
            elif path not in _OPERATORS:
                missing = NotFound(f"The API is below {self._prefix}.")
                await problem_response(missing, scope.get("request_id"))(scope, receive, send)
                return
        await self._app(scope, receive, send)
