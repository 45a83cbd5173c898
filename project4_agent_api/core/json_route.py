"""Routes of LangGraph's API, which read JSON without a content type, or with `text/plain`."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders

from shared.errors import UnreadableBody
from shared.origins import Origins

_PLAIN = ("", "text/plain")
JSON = "application/json"


class JsonRoute(APIRoute):
    """A route that reads a body without a content type, or with `text/plain`, as JSON, as LangGraph's server does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that serves a request."""
        serve = super().get_route_handler()

        async def serve_json(request: Request) -> Response:
            return await serve(with_json(request) if self.body_field else request)

        return serve_json


def with_json(request: Request) -> Request:
    """Return a request whose plain body is JSON.

    Raises:
        UnreadableBody: if it was sent by a page of another site. A browser sends plain text to other sites without
            asking first, so that any page could start runs on a service without accounts.
    """
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type not in _PLAIN:
        return request
    origins: Origins = request.app.state.origins
    if not origins.admit(request.headers):
        raise UnreadableBody("Send it as application/json.")
    MutableHeaders(scope=request.scope)["Content-Type"] = JSON
    return Request(request.scope, request.receive)
