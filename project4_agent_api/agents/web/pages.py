"""Fetching one page: where its text comes from is checked, how long it is and how long it takes is bounded."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from email.message import Message

import httpcore2
import httpx2

from project4_agent_api.agents.web.reading import text_of
from project4_agent_api.core.outbound.addresses import NotPublic, PublicAddresses, Resolve, Unresolvable, resolve
from project4_agent_api.core.outbound.requests import PORTS, UNREACHABLE, request

_MOST_REDIRECTS = 5
_LONGEST_URL = 2000
_TYPES = {
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
    (b"Accept", ", ".join(sorted(_TYPES)).encode()),
    # What is packed can be a thousand times as long when it is unpacked.
    (b"Accept-Encoding", b"identity"),
]


class PageError(Exception):
    """The page cannot be had. The message says why, in words for whoever named it."""


@dataclass(frozen=True)
class Page:
    """A page that was read.

    Attributes:
        url: Where it came from, after redirects.
        text: What a reader would see of it.
        complete: Whether that is all of it.
    """

    url: str
    text: str
    complete: bool


@dataclass(frozen=True)
class WebPages:
    """Fetches pages from public addresses.

    Attributes:
        seconds: For a whole page, with its redirects.
        most_bytes: What is read of one; the rest is left.
        resolve: Gives the addresses of a name.
        backend: Connects to an address that has been checked.
    """

    seconds: float
    most_bytes: int
    resolve: Resolve = resolve
    backend: httpcore2.AsyncNetworkBackend = field(default_factory=httpcore2.AnyIOBackend)

    async def fetch(self, url: str) -> Page:
        """Fetch a page, by GET and without credentials, and follow its redirects.

        Raises:
            PageError: if it is not to be had, or no text, or is on a network that nobody is to see from here.
        """
        try:
            async with asyncio.timeout(self.seconds):
                return await self._follow(url)
        except TimeoutError:
            raise PageError(f"The page took more than {self.seconds:g} seconds.") from None
        except NotPublic as error:
            raise PageError(f"{error} is not a public address, and only public ones are fetched.") from None
        except Unresolvable as error:
            raise PageError(f"There is no server named {error}.") from None
        except UNREACHABLE:
            raise PageError("The server could not be reached, or broke off.") from None

    async def _follow(self, url: str) -> Page:
        target = _checked(url)
        for _ in range(_MOST_REDIRECTS + 1):
            network = PublicAddresses(self.resolve, self.backend)
            async with request("GET", target, _HEADERS, network) as response:
                headers = _headers(response.headers)
                if response.status in (301, 302, 303, 307, 308) and (location := headers["location"]):
                    target = _checked(_joined(target, location))
                    continue
                if response.status != 200:
                    raise PageError(f"The server answered with status {response.status}.")
                media_type, charset = _readable(headers)
                content, complete = await self._read(response.aiter_stream())
            text = await asyncio.to_thread(text_of, content, media_type, charset)
            return Page(str(target), text, complete)
        raise PageError(f"The page redirects more than {_MOST_REDIRECTS} times.")

    async def _read(self, stream: AsyncIterator[bytes]) -> tuple[bytes, bool]:
        content = bytearray()
        async for data in stream:
            content += data
            if len(content) > self.most_bytes:
                return bytes(content[: self.most_bytes]), False
        return bytes(content), True


def _checked(url: str) -> httpx2.URL:
    """Parse an address.

    Raises:
        PageError: if it is none of a web page, or carries a name or a password.
    """
    if len(url) > _LONGEST_URL:
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


def _joined(base: httpx2.URL, location: str) -> str:
    try:
        return str(base.join(location))
    except (httpx2.InvalidURL, ValueError):
        raise PageError("The page redirects to something that is no address.") from None


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> Message:
    headers = Message()
    for name, value in raw:
        headers[name.decode("latin-1")] = value.decode("latin-1")
    return headers


def _readable(headers: Message) -> tuple[str, str | None]:
    """Return what kind of text it is, and the encoding that the server names.

    Raises:
        PageError: if it is no text, or packed.
    """
    if "content-type" not in headers:
        raise PageError("The server does not say what kind of page this is.")
    media_type = headers.get_content_type()
    if media_type not in _TYPES:
        raise PageError(f"This is no text but {media_type[:60]}.")
    if (headers["content-encoding"] or "identity").strip().lower() != "identity":
        raise PageError("The server sends the page packed, although it was asked not to.")
    charset = headers.get_param("charset")
    return media_type, charset if isinstance(charset, str) else None
