"""Metrics of requests: the outermost middleware, so that it sees every response."""

from time import perf_counter

from loguru import logger
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from project4_agent_api.core.model_usage import UsageByModel, record_usage
from project4_agent_api.core.postgres import Pool
from project4_agent_api.core.state import find
from project4_agent_api.core.telemetry.calls import observe_calls
from project4_agent_api.core.telemetry.metrics import OTHER, REFUSED, UNMATCHED, Metrics
from shared.errors import DatabaseUnavailable
from shared.owner import LOCAL_OWNER_ID

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_REJECTIONS = (401, 403, 429)


class CountRequests:
    """ASGI middleware that counts requests and the calls made for them."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics
        # `labels()` takes a lock for each lookup. These combinations are few, so they are cached.
        self._requests: dict[tuple[str, str, int], Counter] = {}
        self._response_times: dict[tuple[str, str], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        status = 499  # the client disconnected before the response started

        async def send_and_count(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._response_time(scope, status).observe(perf_counter() - started)
            await send(message)

        self._metrics.in_flight.inc()
        try:
            with observe_calls(self._metrics) as calls:
                await self.app(scope, receive, send_and_count)
        finally:
            self._metrics.in_flight.dec()
            self._count(scope, status)
            if calls.usage:
                await _record_usage(scope, calls.usage)

    def _count(self, scope: Scope, status: int) -> None:
        key = (*method_and_route(scope, status), status)
        if (counter := self._requests.get(key)) is None:
            counter = self._requests[key] = self._metrics.requests.labels(*key)
        counter.inc()

    def _response_time(self, scope: Scope, status: int) -> Histogram:
        key = method_and_route(scope, status)
        if (histogram := self._response_times.get(key)) is None:
            histogram = self._response_times[key] = self._metrics.response_time.labels(*key)
        return histogram


async def _record_usage(scope: Scope, usage: UsageByModel) -> None:
    """Record the tokens of a request, such as a question about documents, for its user."""
    owner_id = scope.get("state", {}).get("owner_id", LOCAL_OWNER_ID)
    try:
        await record_usage(find(scope["app"], Pool), owner_id, usage)
    except DatabaseUnavailable:
        logger.warning("{} tokens of model calls were not recorded", usage.tokens.total)


def method_and_route(scope: Scope, status: int) -> tuple[str, str]:
    """Return the method of a request, and the template of the route that served it."""
    method: str = scope["method"]
    path = getattr(scope.get("route"), "path", None)
    if not isinstance(path, str):
        path = REFUSED if status in _REJECTIONS else UNMATCHED
    return (method if method in _METHODS else OTHER), path
