"""`REDIS_URL`: check an address, and translate what other tools write there for redis-py."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlencode

from shared.address import Address, split_address

Topology = Literal["server", "sentinel", "cluster"]

_SCHEMES = {
    **{name: name for name in ("redis", "rediss", "unix")},
    "valkey": "redis",
    "valkeys": "rediss",
    **dict.fromkeys(("redis+ssl", "redis+tls"), "rediss"),
    **dict.fromkeys(("redis+socket", "redis+unix"), "unix"),
}
_TOPOLOGIES: dict[str, Topology] = {"sentinel": "sentinel", "cluster": "cluster"}
_PORTS = {"sentinel": 26379, "cluster": 6379}
_FORM = "must be redis://USER:PASSWORD@HOST:PORT/NUMBER; use percent-encoding for special characters"
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS = (*_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_OF_SENTINELS = ("sentinel_username", "sentinel_password")
_KNOWN = ("db", "username", "password", "client_name", "health_check_interval", *_TLS)
_IGNORED = ("family",)  # ioredis: which addresses of a name to try; all of them are
_CHOICES = {
    "ssl_cert_reqs": ("none", "optional", "required"),
    "ssl_check_hostname": ("true", "false", "1", "0", "yes", "no"),
}
_SEVERAL_SERVERS = (
    "must be the address of one redis:// server; several are redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or "
    "redis+cluster://HOST:PORT,HOST:PORT"
)


@dataclass(frozen=True)
class RedisAddress:
    """An address of one server, of Sentinels, or of nodes of a cluster.

    Attributes:
        url: As redis-py reads it: of the server, or of any one server of a group.
        places: Hosts and ports of Sentinels or nodes.
        service: Name by which Sentinels know the group.
    """

    url: str = field(repr=False)  # it may contain a password
    topology: Topology = "server"
    places: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_credentials: dict[str, str | None] = field(default_factory=dict, repr=False)


def redis_address(address: str) -> RedisAddress:
    """Return the parts of an address.

    Raises:
        ValueError: with one line that names the fault, without a value.
    """
    scheme, topology, parts = _split(address)
    user, password = (quote(unquote(part), safe="") for part in (parts.user, parts.password))
    path = parts.path
    parameters = {}
    sentinel_credentials: dict[str, str | None] = {"username": None, "password": None}
    for name, value in parts.parameters():
        if name in _OF_SENTINELS and topology == "sentinel":
            sentinel_credentials[name.removeprefix("sentinel_")] = value
        elif name not in _IGNORED:
            parameters[name] = _checked(name, value, scheme)
    service = ""
    if topology == "sentinel":
        service, _, path = path.strip("/").partition("/")
        if not service:
            raise ValueError("must end with the name of the service that the Sentinels watch, such as /mymaster")
    if scheme != "unix":
        _check_number(path)
        path = path.strip("/")
    if topology == "cluster" and (path or parameters.get("db", "0")).strip("0"):
        raise ValueError("a cluster has no database but 0")
    credentials = f"{user}:{password}@" if user or password else ""
    query = f"?{urlencode(parameters)}" if parameters else ""
    url = f"{scheme}://{credentials}{parts.hosts[0]}/{path}{query}"
    if topology == "server":
        return RedisAddress(url)
    places = tuple(_place(host, _PORTS[topology]) for host in parts.hosts)
    return RedisAddress(url, topology, places, unquote(service), sentinel_credentials)


def _place(host: str, default_port: int) -> tuple[str, int]:
    name, separator, port = host.rpartition(":")
    if not separator or port.endswith("]"):
        name, port = host, ""
    return unquote(name).strip("[]"), int(port or default_port)


def _split(address: str) -> tuple[str, Topology, Address]:
    name, separator, rest = address.strip().partition("://")
    topology: Topology = "server"
    for word, meant in _TOPOLOGIES.items():
        if name.endswith(("+" + word, "-" + word)):
            name, topology = name.removesuffix(word)[:-1], meant
    scheme = _SCHEMES.get(name)
    if not separator or scheme is None or (scheme == "unix" and topology != "server"):
        raise ValueError("must be a redis:// or rediss:// address")
    parts = split_address(rest)
    if parts is None:
        raise ValueError(_FORM)
    if len(parts.hosts) > 1 and topology == "server":
        raise ValueError(_SEVERAL_SERVERS)
    if scheme == "unix" and not parts.path:
        raise ValueError("must have the form unix:///PATH")
    for host in parts.hosts:
        port = host.rpartition("]")[2].partition(":")[2]
        if port and int(port) > 65535:
            raise ValueError("the port must be at most 65535")
    return scheme, topology, parts


def _checked(name: str, value: str, scheme: str) -> str:
    if name not in _KNOWN:
        raise ValueError(f"{name} cannot be set in the address" if name.isidentifier() else _FORM)
    if name in _TLS and scheme != "rediss":
        raise ValueError(f"{name} needs an address with rediss://")
    if name == "ssl_cert_reqs":
        value = value.lower().removeprefix("cert_")  # as Celery writes it
    if name in _CHOICES and value.lower() not in _CHOICES[name]:
        raise ValueError(f"{name} must be one of {', '.join(_CHOICES[name])}")
    if name in _FILES and not Path(value).is_file():
        raise ValueError(f"{name} names a file that does not exist")
    if name == "health_check_interval" and not value.isdigit():
        raise ValueError(f"{name} must be a number")
    if name == "db":
        _check_number(value)
    return value


def _check_number(text: str) -> None:
    if text.strip("/") and not text.strip("/").isdigit():
        raise ValueError("the database must be a number")


def passwords(address: str) -> list[str]:
    """Return the passwords of a valid address, as they are written there and as they are sent."""
    parts = _split(address)[2]
    given = dict(parts.parameters())
    sent = (given.get("password", ""), given.get("sentinel_password", ""))
    return sorted({parts.password, unquote(parts.password), *sent} - {""})
