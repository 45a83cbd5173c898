"""A single HTTP request to a URL that a user chose, on a connection of its own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache

import httpcore2
import httpx2

PORTS = {"http": 80, "https": 443}
# Raised if a server is unreachable, or closes the connection early.
UNREACHABLE = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError)
_ssl_context = cache(httpx2.create_ssl_context)  # reading the certificates of all authorities takes a while


@asynccontextmanager
async def request(
    method: str,
    url: httpx2.URL,
    headers: Sequence[tuple[bytes, bytes]],
    network: httpcore2.AsyncNetworkBackend,
    content: bytes | None = None,
) -> AsyncIterator[httpcore2.Response]:
    """Send a request, and yield the response before its body is read. Redirects are not followed.

    Args:
        url: A URL with a scheme of `PORTS`.
        network: Opens the connection, and decides which addresses are allowed.

    Raises:
        UNREACHABLE: if there is no response.
        Exception: any that `network` raises.
    """
    # A pool for this request only, so that it shares no connection with another one.
    async with httpcore2.AsyncConnectionPool(
        ssl_context=_ssl_context(), max_connections=1, network_backend=network
    ) as pool:
        target = httpcore2.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port or PORTS[url.scheme], target=url.raw_path
        )
        with_host = [*headers, (b"Host", url.netloc)]
        async with pool.stream(method, target, headers=with_host, content=content) as response:
            yield response
