"""Fetch the text of one page from a public address, with limits on its size and duration."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message

import httpcore2

from project4_agent_api.agents.web.reading import page_text
from shared.outbound.addresses import Resolve, resolve
from shared.outbound.fetching import FetchError, PublicWeb

_MEDIA_TYPES = {
    "application/json",
    "application/xhtml+xml",
    "application/xml",
    "text/csv",
    "text/html",
    "text/markdown",
    "text/plain",
    "text/xml",
}
_ACCEPT = ", ".join(sorted(_MEDIA_TYPES))


@dataclass(frozen=True)
class Page:
    """A fetched page.

    Attributes:
        url: The final URL, after redirects.
        complete: False if the page was cut off at the size limit.
    """

    url: str
    text: str
    complete: bool


@dataclass(frozen=True)
class WebPages:
    """Fetches pages from public addresses.

    Attributes:
        timeout_seconds: Limit for a page, including its redirects.
        max_bytes: Limit for a page; the rest is not read.
        resolve: Resolves a host name to addresses.
        backend: Connects to checked addresses.
    """

    timeout_seconds: float
    max_bytes: int
    resolve: Resolve = resolve
    backend: httpcore2.AsyncNetworkBackend = field(default_factory=httpcore2.AnyIOBackend)

    async def fetch(self, url: str) -> Page:
        """Fetch a page with GET, without credentials, following redirects.

        Raises:
            FetchError: if the page cannot be fetched, is not text, or is not on a public address.
        """
        web = PublicWeb(self.timeout_seconds, self.resolve, self.backend)
        async with web.get(url, accept=_ACCEPT) as fetched:
            media_type, charset = _require_text(fetched.headers)
            content, complete = await self._read(fetched.content)
        text = await asyncio.to_thread(page_text, content, media_type, charset)
        return Page(str(fetched.url), text, complete)

    async def _read(self, stream: AsyncIterator[bytes]) -> tuple[bytes, bool]:
        content = bytearray()
        async for data in stream:
            content += data
            if len(content) > self.max_bytes:
                return bytes(content[: self.max_bytes]), False
        return bytes(content), True


def _require_text(headers: Message) -> tuple[str, str | None]:
    """Return the media type and the declared charset.

    Raises:
        FetchError: if the content is not text.
    """
    if "content-type" not in headers:
        raise FetchError("The server does not say what kind of page this is.")
    media_type = headers.get_content_type()
    if media_type not in _MEDIA_TYPES:
        raise FetchError(f"This is no text but {media_type[:60]}.")
    charset = headers.get_param("charset")
    return media_type, charset if isinstance(charset, str) else None
