"""One HTTP request to an address that somebody names, on a connection of its own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache

import httpcore2
import httpx2

PORTS = {"http": 80, "https": 443}
# What a server that is away, or that breaks off, raises.
UNREACHABLE = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError)
_ssl_context = cache(httpx2.create_ssl_context)  # it reads the certificates of all authorities


@asynccontextmanager
async def request(
    method: str,
    url: httpx2.URL,
    headers: Sequence[tuple[bytes, bytes]],
    network: httpcore2.AsyncNetworkBackend,
    content: bytes | None = None,
) -> AsyncIterator[httpcore2.Response]:
    """Send a request, and give the answer: its head has been read, its body has not. Redirects are not followed.

    Args:
        method: Such as `GET`.
        url: Where to, with one of the schemes of `PORTS`.
        headers: Besides `Host`.
        network: Opens the connection, and decides to what.
        content: The body.

    Raises:
        UNREACHABLE: if there is no answer.
        Whatever `network` raises.
    """
    # A pool of one connection, for one request: nothing that this one set up is there for the next.
    async with httpcore2.AsyncConnectionPool(
        ssl_context=_ssl_context(), max_connections=1, network_backend=network
    ) as pool:
        target = httpcore2.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port or PORTS[url.scheme], target=url.raw_path
        )
        with_host = [*headers, (b"Host", url.netloc)]
        async with pool.stream(method, target, headers=with_host, content=content) as response:
            yield response
