"""Fetch one page from a public address, with limits on its size and duration."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from email.message import Message

import httpcore2
import httpx2

from project4_agent_api.agents.web.reading import page_text
from project4_agent_api.core.outbound.addresses import (
    NotPublicError,
    PublicAddresses,
    Resolve,
    UnresolvableError,
    resolve,
)
from project4_agent_api.core.outbound.requests import PORTS, UNREACHABLE, request

_MAX_REDIRECTS = 5
_MAX_URL_LENGTH = 2000
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
_HEADERS = [
    (b"User-Agent", b"Mozilla/5.0 (compatible; agent-api)"),
    (b"Accept", ", ".join(sorted(_MEDIA_TYPES)).encode()),
    # Compressed content can expand a thousandfold.
    (b"Accept-Encoding", b"identity"),
]


class PageError(Exception):
    """The page cannot be fetched. The message explains why, for the model and the user."""


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
            PageError: if the page cannot be fetched, is not text, or is not on a public address.
        """
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await self._follow(url)
        except TimeoutError:
            raise PageError(f"The page took more than {self.timeout_seconds:g} seconds.") from None
        except NotPublicError as error:
            raise PageError(f"{error} is not a public address, and only public ones are fetched.") from None
        except UnresolvableError as error:
            raise PageError(f"There is no server named {error}.") from None
        except UNREACHABLE:
            raise PageError("The server could not be reached, or broke off.") from None

    async def _follow(self, url: str) -> Page:
        target = _parse_url(url)
        for _ in range(_MAX_REDIRECTS + 1):
            network = PublicAddresses(self.resolve, self.backend)
            async with request("GET", target, _HEADERS, network) as response:
                headers = _headers(response.headers)
                if response.status in (301, 302, 303, 307, 308) and (location := headers["location"]):
                    target = _parse_url(_join_url(target, location))
                    continue
                if response.status != 200:
                    raise PageError(f"The server answered with status {response.status}.")
                media_type, charset = _require_text(headers)
                content, complete = await self._read(response.aiter_stream())
            text = await asyncio.to_thread(page_text, content, media_type, charset)
            return Page(str(target), text, complete)
        raise PageError(f"The page redirects more than {_MAX_REDIRECTS} times.")

    async def _read(self, stream: AsyncIterator[bytes]) -> tuple[bytes, bool]:
        content = bytearray()
        async for data in stream:
            content += data
            if len(content) > self.max_bytes:
                return bytes(content[: self.max_bytes]), False
        return bytes(content), True


def _parse_url(url: str) -> httpx2.URL:
    """Parse a URL.

    Raises:
        PageError: if it is not the URL of a web page, or contains credentials.
    """
    if len(url) > _MAX_URL_LENGTH:
        raise PageError("The address is too long.")
    try:
        parsed = httpx2.URL(url.strip())
        host = parsed.raw_host.decode("ascii")
    except (httpx2.InvalidURL, UnicodeError, ValueError):
        raise PageError("This is no address of a web page.") from None
    if parsed.scheme not in PORTS:
        raise PageError("Only addresses that begin with http:// or https:// are fetched.")
    if not host:
        raise PageError("This is no address of a web page.")
    if parsed.userinfo:
        raise PageError("An address with a user name or a password in it is not fetched.")
    return parsed


def _join_url(base: httpx2.URL, location: str) -> str:
    try:
        return str(base.join(location))
    except (httpx2.InvalidURL, ValueError):
        raise PageError("The page redirects to something that is no address.") from None


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> Message:
    headers = Message()
    for name, value in raw:
        headers[name.decode("latin-1")] = value.decode("latin-1")
    return headers


def _require_text(headers: Message) -> tuple[str, str | None]:
    """Return the media type and the declared charset.

    Raises:
        PageError: if the content is not text, or compressed.
    """
    if "content-type" not in headers:
        raise PageError("The server does not say what kind of page this is.")
    media_type = headers.get_content_type()
    if media_type not in _MEDIA_TYPES:
        raise PageError(f"This is no text but {media_type[:60]}.")
    if (headers["content-encoding"] or "identity").strip().lower() != "identity":
        raise PageError("The server sends the page packed, although it was asked not to.")
    charset = headers.get_param("charset")
    return media_type, charset if isinstance(charset, str) else None
