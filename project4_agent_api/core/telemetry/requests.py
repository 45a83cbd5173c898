"""Counts requests: plain ASGI around everything else, so that it sees every answer."""

from time import perf_counter

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from project4_agent_api.core.telemetry.calls import observe_calls
from project4_agent_api.core.telemetry.metrics import OTHER, REFUSED, UNMATCHED, Metrics

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_REFUSALS = (401, 403, 429)


class CountRequests:
    """Counts requests and what is called for them.

    Args:
        app: What answers them.
        metrics: Where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics
        # `labels()` looks a child up under a lock, from strings; these are few.
        self._requests: dict[tuple[str, str, int], Counter] = {}
        self._answered: dict[tuple[str, str], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        status = 499  # the client has left before there was an answer

        async def send_and_count(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._answers(scope, status).observe(perf_counter() - started)
            await send(message)

        self._metrics.in_flight.inc()
        try:
            with observe_calls(self._metrics):
                await self.app(scope, receive, send_and_count)
        finally:
            self._metrics.in_flight.dec()
            self._count(scope, status)

    def _count(self, scope: Scope, status: int) -> None:
        key = (*method_and_route(scope, status), status)
        if (counter := self._requests.get(key)) is None:
            counter = self._requests[key] = self._metrics.requests.labels(*key)
        counter.inc()

    def _answers(self, scope: Scope, status: int) -> Histogram:
        key = method_and_route(scope, status)
        if (histogram := self._answered.get(key)) is None:
            histogram = self._answered[key] = self._metrics.response_time.labels(*key)
        return histogram


def method_and_route(scope: Scope, status: int) -> tuple[str, str]:
    """Return the method of a request, and the template of the route that has answered it."""
    method: str = scope["method"]
    path = getattr(scope.get("route"), "path", None)
    if not isinstance(path, str):
        path = REFUSED if status in _REFUSALS else UNMATCHED
    return (method if method in _METHODS else OTHER), path
