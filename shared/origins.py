"""The origins of other pages that may call a service from a browser, and the host names of the service itself."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import MisdirectedRequest
from shared.problems import problem_response
from shared.settings import Settings

_LOOPBACK = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


@dataclass(frozen=True)
class Origins:
    """The origins that a service admits, besides its own: those of `CORS_ORIGINS`, or in development this machine's."""

    names: tuple[str, ...]
    pattern: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings, development: Collection[str] = ()) -> "Origins":
        """Read the settings.

        Args:
            development: Origins of other sites that are admitted in development, unless `CORS_ORIGINS` is set.
        """
        if settings.cors_origins is not None or settings.production:
            return cls(tuple(settings.cors_origins or ()))
        return cls(tuple(development), _LOOPBACK)

    def admit(self, headers: Headers) -> bool:
        """Return whether a request comes from no page, from a page of the service itself, or from an admitted origin.

        Browsers send some requests to other sites without asking first: opening a WebSocket, and posting plain text.
        """
        origin = headers.get("origin")
        if origin is None or origin in self.names or "*" in self.names:
            return True
        own = origin.partition("://")[2] == headers.get("host")
        return own or bool(self.pattern and re.fullmatch(self.pattern, origin))


class HostGuard:
    """Refuses requests for the name of another host, for a service that listens on a loopback address.

    A page whose name resolves to a loopback address (DNS rebinding) has the same origin as the service for a browser,
    and could read everything that needs no sign-in. An address cannot be rebound, and neither can `localhost`.

    Args:
        origins: Origins whose hosts are served too, such as that of a tunnel to this machine.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self.app = app
        self.names = frozenset(urlsplit(origin).hostname for origin in origins) - {None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan" or self._serves(Headers(scope=scope).get("host", "localhost")):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            error = MisdirectedRequest("Only localhost is served here. CORS_ORIGINS admits another name.")
            await problem_response(error, scope.get("request_id"))(scope, receive, send)

    def _serves(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # brackets that do not match
            return False
        return name == "localhost" or name.endswith(".localhost") or name in self.names or _is_address(name)


def listens_on_loopback(settings: Settings) -> bool:
    """Return whether only this machine can connect to a service."""
    return settings.host == "localhost" or (_is_address(settings.host) and ip_address(settings.host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
