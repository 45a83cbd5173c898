"""Connections to public addresses only.

A host name is resolved once, each of its addresses is checked, and the connection is made to a checked address. A name
that resolves to another address a moment later (DNS rebinding) gains nothing by it. Names themselves are not checked,
so spellings of 127.0.0.1 such as 2130706433, 0177.1 or localhost.example.com need no rules of their own.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore2

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# IANA's special-purpose addresses, multicast, reserved addresses, and public ones that clouds serve to their own hosts.
# Other addresses of metadata services are among the private ones: 169.254.169.254, 100.100.100.200 (Alibaba Cloud),
# 192.0.0.192 (Oracle Cloud), fd00:ec2::254 (AWS), fd20:ce::254 (Google Cloud).
# https://www.iana.org/assignments/iana-ipv4-special-registry and .../iana-ipv6-special-registry
_SPECIAL_IPV4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; some clouds serve metadata there
        "127.0.0.0/8",  # loopback
        "161.26.0.0/16",  # services inside IBM Cloud
        "166.8.0.0/14",  # likewise
        "168.63.129.16/32",  # Azure's metadata and DNS, inside each virtual network
        "169.254.0.0/16",  # link-local; most clouds serve metadata there
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
# Global unicast. It excludes loopback, link-local, unique local and multicast addresses, and most forms that contain an
# IPv4 address: mapped (::ffff:0:0/96), compatible (::/96), NAT64 (64:ff9b::/96, 64:ff9b:1::/48).
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_SPECIAL_IPV6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which contains an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
]


class NotPublicError(Exception):
    """A host name has no public address."""


class UnresolvableError(Exception):
    """A host name has no address."""


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet."""
    ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _SPECIAL_IPV4)
    return ip in _GLOBAL_IPV6 and not any(ip in network for network in _SPECIAL_IPV6)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host, in the order in which the system would try them.

    Raises:
        UnresolvableError: if there are none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnresolvableError(host) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PublicAddresses(httpcore2.AsyncNetworkBackend):
    """Network backend of an HTTP client that connects to public addresses only.

    Args:
        resolve: Returns the addresses of a host.
    """

    def __init__(self, resolve: Resolve, backend: httpcore2.AsyncNetworkBackend) -> None:
        self._resolve = resolve
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first public address of a host that accepts the connection.

        Raises:
            NotPublicError, UnresolvableError: if the host has no such address.
            httpcore2.NetworkError, httpcore2.TimeoutException: if no address accepts it.
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
        assert failed is not None  # noqa: S101  every address has failed
        raise failed
