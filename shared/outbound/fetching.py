"""Fetch a URL that a user chose from a public address, following redirects."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.message import Message

import httpcore2
import httpx2

from shared.outbound.addresses import NotPublicError, PublicAddresses, Resolve, UnresolvableError, resolve
from shared.outbound.requests import PORTS, UNREACHABLE, request

_MAX_REDIRECTS = 5
_MAX_URL_LENGTH = 2000
_MAX_HEADER_LENGTH = 4000  # Python reads the parameters of a header in quadratic time
_HEADERS = [
    (b"User-Agent", b"Mozilla/5.0 (compatible; agent-api)"),
    # Compressed content can expand a thousandfold.
    (b"Accept-Encoding", b"identity"),
]

# Counts the bytes that are fetched for a request.
count_fetched: ContextVar[Callable[[int], None]] = ContextVar("count_fetched", default=lambda _: None)


class FetchError(Exception):
    """The URL cannot be fetched. The message explains why, for the user."""


@dataclass(frozen=True)
class Fetched:
    """A response with status 200, whose content is not compressed.

    Attributes:
        url: The final URL, after redirects.
    """

    url: httpx2.URL
    headers: Message
    content: AsyncIterator[bytes]


@dataclass(frozen=True)
class PublicWeb:
    """Fetches from public addresses.

    Attributes:
        timeout_seconds: Limit for a response, including its redirects and its content.
        resolve: Resolves a host name to addresses.
        backend: Connects to checked addresses.
    """

    timeout_seconds: float
    resolve: Resolve = resolve
    backend: httpcore2.AsyncNetworkBackend = field(default_factory=httpcore2.AnyIOBackend)

    @asynccontextmanager
    async def get(self, url: str, accept: str) -> AsyncIterator[Fetched]:
        """Send GET without credentials, following redirects, and yield the response before its content is read.

        Raises:
            FetchError: if the URL cannot be fetched, or is not on a public address; also while the content is read.
        """
        headers = [*_HEADERS, (b"Accept", accept.encode())]
        try:
            async with asyncio.timeout(self.timeout_seconds), self._follow(_parse_url(url), headers) as fetched:
                yield fetched
        except TimeoutError:
            raise FetchError(f"The server took more than {self.timeout_seconds:g} seconds.") from None
        except NotPublicError as error:
            raise FetchError(f"{error} is not a public address, and only public ones are fetched.") from None
        except UnresolvableError as error:
            raise FetchError(f"There is no server named {error}.") from None
        except UNREACHABLE:
            raise FetchError("The server could not be reached, or broke off.") from None

    @asynccontextmanager
    async def _follow(self, target: httpx2.URL, headers: Sequence[tuple[bytes, bytes]]) -> AsyncIterator[Fetched]:
        for _ in range(_MAX_REDIRECTS + 1):
            network = PublicAddresses(self.resolve, self.backend)
            async with request("GET", target, headers, network) as response:
                found = _parse_headers(response.headers)
                if response.status in (301, 302, 303, 307, 308) and (location := found["location"]):
                    target = _parse_url(_join_url(target, location))
                    continue
                if response.status != 200:
                    raise FetchError(f"The server answered with status {response.status}.")
                if (found["content-encoding"] or "identity").strip().lower() != "identity":
                    raise FetchError("The server sends the content packed, although it was asked not to.")
                yield Fetched(target, found, _counted(response.aiter_stream()))
                return
        raise FetchError(f"The address redirects more than {_MAX_REDIRECTS} times.")


def _parse_url(url: str) -> httpx2.URL:
    """Parse a URL.

    Raises:
        FetchError: if it is not the URL of a web page, or contains credentials.
    """
    if len(url) > _MAX_URL_LENGTH:
        raise FetchError("The address is too long.")
    try:
        parsed = httpx2.URL(url.strip())
        host = parsed.raw_host.decode("ascii")
    except (httpx2.InvalidURL, UnicodeError, ValueError):
        raise FetchError("This is no address of a web page.") from None
    if parsed.scheme not in PORTS:
        raise FetchError("Only addresses that begin with http:// or https:// are fetched.")
    if not host:
        raise FetchError("This is no address of a web page.")
    if parsed.userinfo:
        raise FetchError("An address with a user name or a password in it is not fetched.")
    return parsed


def _join_url(base: httpx2.URL, location: str) -> str:
    try:
        return str(base.join(location))
    except (httpx2.InvalidURL, ValueError):
        raise FetchError("The page redirects to something that is no address.") from None


async def _counted(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    count = count_fetched.get()
    async for data in content:
        count(len(data))
        yield data


def _parse_headers(raw: Sequence[tuple[bytes, bytes]]) -> Message:
    headers = Message()
    for name, value in raw:
        headers[name.decode("latin-1")] = value[:_MAX_HEADER_LENGTH].decode("latin-1")
    return headers
