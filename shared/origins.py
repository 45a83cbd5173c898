"""The origins of other pages that may call a service from a browser."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers

from shared.settings import Settings

_LOOPBACK = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


@dataclass(frozen=True)
class Origins:
    """The origins that a service admits, besides its own: those of `CORS_ORIGINS`, or in development this machine's."""

    names: tuple[str, ...]
    pattern: str | None = None

    @classmethod
    def of(cls, settings: Settings, development: Collection[str] = ()) -> "Origins":
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
