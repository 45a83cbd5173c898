"""Connections to public addresses only, whatever a name resolves to.

A name is resolved once, each address is checked, and the connection is made to an address that was checked: a name that
resolves to something else the next moment (DNS rebinding) gains nothing. What a name looks like is never asked, so it
does not matter that 2130706433, 0177.1 and localhost.example.com are 127.0.0.1.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore2

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# IANA's registries of special-purpose addresses, multicast, and what is reserved.
# https://www.iana.org/assignments/iana-ipv4-special-registry and .../iana-ipv6-special-registry
_SPECIAL_IPV4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; some clouds have their metadata there
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; most clouds have their metadata there
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]
# Only this is global unicast, which leaves out loopback, link-local, unique local, multicast, and the forms that carry
# an IPv4 address inside: mapped (::ffff:0:0/96), compatible (::/96), NAT64 (64:ff9b::/96, 64:ff9b:1::/48).
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_SPECIAL_IPV6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, with an IPv4 address inside
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
]


class NotPublicError(Exception):
    """A name resolves to no public address."""


class UnresolvableError(Exception):
    """A name resolves to nothing."""


def is_public(address: str) -> bool:
    """Say whether an IP address, as text, is one of the public internet."""
    ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _SPECIAL_IPV4)
    return ip in _GLOBAL_IPV6 and not any(ip in network for network in _SPECIAL_IPV6)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system for a name's addresses, in the order in which it would try them.

    Raises:
        Unresolvable: if it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnresolvableError(host) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PublicAddresses(httpcore2.AsyncNetworkBackend):
    """Opens connections for an HTTP client, to public addresses only.

    Args:
        resolve: Gives the addresses of a name.
        backend: Connects to an address.
    """

    def __init__(self, resolve: Resolve, backend: httpcore2.AsyncNetworkBackend) -> None:
        self._resolve = resolve
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  it is the client's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of a host that is public and answers.

        Raises:
            NotPublic, Unresolvable: see there.
            httpcore2.NetworkError, httpcore2.TimeoutException: if no address answers.
        """
        addresses = [address for address in await self._resolve(host, port) if is_public(address)]
        if not addresses:
            raise NotPublicError(host)
        failed: httpcore2.NetworkError | httpcore2.TimeoutException | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
                failed = error
        assert failed is not None  # noqa: S101  there was an address, and it did not answer
        raise failed
