"""Adds fields that no server knows to every request of a client, as a client of a newer version does."""

import json
from typing import Any

import httpx

UNKNOWN = {"x_newer_field": {"of": ["a", "newer", "version"]}}
# Parts of bodies that are not the user's own data.
_ENVELOPES = {
    "before",
    "checkpoint",
    "command",
    "config",
    "goto",
    "langsmith_tracer",
    "params",
    "responses",
    "supersteps",
    "ttl",
    "updates",
}


def with_unknown_fields(body: Any) -> Any:  # noqa: ANN401  any JSON
    """Return a body with unknown fields at every level."""
    if isinstance(body, list):
        return [with_unknown_fields(item) for item in body]
    if not isinstance(body, dict):
        return body
    return {name: with_unknown_fields(part) if name in _ENVELOPES else part for name, part in body.items()} | UNKNOWN


class UnknownFields(httpx.AsyncBaseTransport):
    """A transport that adds unknown fields to the JSON bodies of requests.

    Attributes:
        changed: The methods and paths of the requests that it has changed.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self.changed: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        if request.headers.get("Content-Type", "").startswith("application/json") and request.content:
            headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
            content = json.dumps(with_unknown_fields(json.loads(request.content))).encode()
            self.changed.append(f"{request.method} {request.url.path}")
            request = httpx.Request(
                request.method, request.url, headers=headers, content=content, extensions=request.extensions
            )
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()
