"""Records the way of a request or a WebSocket through FastAPI: middleware, dependencies, streams.

FastAPI itself records the request, its handler, the response and background tasks as OpenTelemetry spans, once it has a
provider; the rest is recorded here.
"""

import functools
import inspect
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from time import time
from typing import Any, cast

import fastapi.routing
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from opentelemetry.trace import Span, get_current_span
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.middleware import PROBES, RequestContext
from shared.paths import route_path
from shared.xray.calls import recorded_calls
from shared.xray.connections import Connection, open_connection
from shared.xray.recorder import Recorder, current, describe, entered, fail, recorded
from shared.xray.rows import Buffer, RequestHead
from shared.xray.sources import line_of

_OWN_PATHS = ("/xray", "/page/", "/docs", "/openapi.json")


def is_left_out(scope: Any) -> bool:  # noqa: ANN401  an ASGI scope
    """Return whether a connection is not recorded: probes, and the page itself."""
    path = route_path(scope)
    return scope["type"] not in ("http", "websocket") or path in PROBES or path == "/" or path.startswith(_OWN_PATHS)


def record_requests(app: FastAPI, recorder: Recorder, buffer: Buffer) -> None:
    """Record the middleware of an app, including middleware added later, and the dependencies of its routes."""
    build = app.build_middleware_stack

    def build_recorded() -> ASGIApp:
        stack = []
        for middleware in app.user_middleware:
            stack.append(Middleware(RecordedMiddleware, recorder=recorder, middleware=middleware))
            if cast("object", middleware.cls) is RequestContext:  # the request has an id from here on
                stack.append(Middleware(NameRequest, recorder=recorder, buffer=buffer))
        app.user_middleware = stack
        return build()

    app.build_middleware_stack = build_recorded  # type: ignore[method-assign]  # Starlette has no hook for it
    _routing.solve_dependencies = _solve_recorded
    _routing.get_request_handler = _get_recorded_handler


class RecordedMiddleware:
    """Another middleware, recorded."""

    def __init__(self, app: ASGIApp, recorder: Recorder, middleware: Middleware) -> None:
        self.app: ASGIApp = middleware.cls(app, *middleware.args, **middleware.kwargs)
        self._recorder = recorder
        self._name = getattr(middleware.cls, "__name__", "middleware")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if not get_current_span().is_recording() or is_left_out(scope):
            await self.app(scope, receive, send)
            return
        with self._recorder.active(), self._recorder.span("middleware", self._name, self.app):
            await self.app(scope, receive, send)


class NameRequest:
    """Gives a recorded request or WebSocket its id, and records its messages."""

    def __init__(self, app: ASGIApp, recorder: Recorder, buffer: Buffer) -> None:
        self.app = app
        self._recorder = recorder
        self._buffer = buffer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if current() is None or is_left_out(scope):
            await self.app(scope, receive, send)
            return
        span_id = f"{get_current_span().get_span_context().span_id:016x}"
        head = RequestHead(
            request_id=scope.setdefault("request_id", os.urandom(16).hex()),  # a WebSocket has none yet
            method=scope.get("method", "WebSocket"),
            path=scope["path"],
            started=time(),
            source=line_of(self.app),
        )
        self._buffer.name(span_id, head)
        connection = Connection(self._recorder, head, scope, receive, send, self.app)
        token = open_connection.set(connection)
        try:
            with recorded_calls(self._recorder):
                await self.app(scope, connection.receive, connection.send)
        finally:
            open_connection.reset(token)
            connection.end()


_routing: Any = fastapi.routing
_solve, _get_handler = _routing.solve_dependencies, _routing.get_request_handler
_recorded_dependants: dict[int, tuple[Dependant, Dependant]] = {}  # with the original, whose id would be reused
_recorded_calls: dict[tuple[int, str], tuple[object, Callable[..., Any]]] = {}


async def _solve_recorded(*, dependant: Dependant, **options: Any) -> Any:  # noqa: ANN401  FastAPI's result
    provider = options.get("dependency_overrides_provider")
    if current() and not getattr(provider, "dependency_overrides", None):  # which are found by the original functions
        dependant = replace(
            dependant, dependencies=[_recorded_dependant(dependency) for dependency in dependant.dependencies]
        )
    return await _solve(dependant=dependant, **options)


def _get_recorded_handler(*args: Any, **options: Any) -> Any:  # noqa: ANN401  FastAPI's handler
    dependant: Dependant = options["dependant"]
    if inspect.isasyncgenfunction(dependant.call):  # FastAPI records other handlers itself
        options["dependant"] = replace(dependant, call=_record_stream(dependant.call))
    return _get_handler(*args, **options)


def _record_stream(function: Callable[..., Any]) -> Callable[..., AsyncIterator[Any]]:
    @functools.wraps(function)
    async def stream(**values: Any) -> AsyncIterator[Any]:
        recorder = current()
        span = recorder.start("handler", function.__name__, function) if recorder else None
        try:
            async with aclosing(function(**values)) as items:
                async for item in items:
                    yield item
        finally:
            if span:
                span.end()

    return stream


def _recorded_dependant(dependant: Dependant) -> Dependant:
    """Return a dependency whose function is recorded, and those of its dependencies."""
    found = _recorded_dependants.get(id(dependant))
    if found is None:
        subdependencies = [_recorded_dependant(dependency) for dependency in dependant.dependencies]
        call = _recorded_function(dependant.call, dependant.scope)
        found = dependant, replace(dependant, call=call, dependencies=subdependencies)
        _recorded_dependants[id(dependant)] = found
    return found[1]


def _recorded_function(function: Any, scope: str | None) -> Callable[..., Any]:  # noqa: ANN401  any callable
    """Return the same function for the same one: FastAPI caches values by it."""
    key = (id(function), scope or "")
    if key not in _recorded_calls:
        _recorded_calls[key] = function, _record_function(function, scope)
    return _recorded_calls[key][1]


def _record_function(function: Any, scope: str | None) -> Callable[..., Any]:  # noqa: ANN401  any callable
    source = line_of(function)
    name = source.function if source else str(function)
    called = function if inspect.isroutine(function) or isinstance(function, type) else type(function).__call__
    if inspect.isasyncgenfunction(called):
        return _record_generator(function, name, scope or "request")
    if inspect.iscoroutinefunction(called):

        @functools.wraps(function)
        async def awaited(**values: Any) -> Any:  # noqa: ANN401  the value of any dependency
            with recorded("dependency", name, function, scope="none"):
                return await function(**values)

        return awaited
    if inspect.isgeneratorfunction(called):

        @functools.wraps(function)
        def generated(**values: Any) -> Iterator[Any]:
            recorder = current()
            span = recorder.start("dependency", name, function, scope=scope or "request") if recorder else None
            try:
                yield from function(**values)
            finally:
                if span:
                    span.end()

        return generated

    @functools.wraps(function)
    def called_in_thread(**values: Any) -> Any:  # noqa: ANN401  the value of any dependency
        with recorded("dependency", name, function, scope="none"):
            return function(**values)

    return called_in_thread


def _record_generator(function: Callable[..., Any], name: str, scope: str) -> Callable[..., Any]:
    """Record a dependency from its setup to its cleanup: with the scope "request" that is after the response."""
    resource = asynccontextmanager(function)

    @functools.wraps(function)
    async def generated(**values: Any) -> AsyncIterator[Any]:
        recorder = current()
        span: Span | None = recorder.start("dependency", name, function, scope=scope) if recorder else None
        if span is None:
            async with resource(**values) as value:
                yield value
            return
        started, opened = time(), resource(**values)
        try:
            with entered(span):
                value = await opened.__aenter__()
            describe(span, setup_ms=round((time() - started) * 1000, 1))
            try:
                yield value
            except BaseException as error:
                with entered(span):
                    if not await opened.__aexit__(type(error), error, error.__traceback__):
                        raise
            else:
                with entered(span):
                    await opened.__aexit__(None, None, None)
        except BaseException as error:
            fail(span, error)
            raise
        finally:
            span.end()

    return generated
