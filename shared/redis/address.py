"""`REDIS_URL`: check an address, and translate what other tools write there for redis-py."""

from pathlib import Path
from urllib.parse import quote, unquote, urlencode

from shared.address import Address, split_address

_SCHEMES = {
    **{name: name for name in ("redis", "rediss", "unix")},
    "valkey": "redis",
    "valkeys": "rediss",
    **dict.fromkeys(("redis+ssl", "redis+tls"), "rediss"),
    **dict.fromkeys(("redis+socket", "redis+unix"), "unix"),
}
_SEVERAL = ("cluster", "sentinel")
_FORM = "must be redis://USER:PASSWORD@HOST:PORT/NUMBER; use percent-encoding for special characters"
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS = (*_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_KNOWN = ("db", "username", "password", "client_name", "health_check_interval", *_TLS)
_IGNORED = ("family",)  # ioredis: which addresses of a name to try; all of them are
_CHOICES = {
    "ssl_cert_reqs": ("none", "optional", "required"),
    "ssl_check_hostname": ("true", "false", "1", "0", "yes", "no"),
}
_SEVERAL_SERVERS = "must be the address of one redis:// server; Redis Cluster and Sentinel are not supported"


def redis_address(address: str) -> str:
    """Return an address as redis-py reads it.

    Raises:
        ValueError: with one line that names the fault, without a value.
    """
    scheme, parts = _split(address)
    user, password = (quote(unquote(part), safe="") for part in (parts.user, parts.password))
    path = parts.path
    parameters = {}
    for name, value in parts.parameters():
        if name not in _IGNORED:
            parameters[name] = _checked(name, value, scheme)
    if scheme != "unix":
        _check_number(path)
        path = path.strip("/")
    credentials = f"{user}:{password}@" if user or password else ""
    query = f"?{urlencode(parameters)}" if parameters else ""
    return f"{scheme}://{credentials}{parts.hosts[0]}/{path}{query}"


def _split(address: str) -> tuple[str, Address]:
    name, separator, rest = address.strip().partition("://")
    if any(word in name for word in _SEVERAL):
        raise ValueError(_SEVERAL_SERVERS)
    scheme = _SCHEMES.get(name)
    if not separator or scheme is None:
        raise ValueError("must be a redis:// or rediss:// address")
    parts = split_address(rest)
    if parts is None:
        raise ValueError(_FORM)
    if len(parts.hosts) > 1:
        raise ValueError(_SEVERAL_SERVERS)
    if scheme == "unix" and not parts.path:
        raise ValueError("must have the form unix:///PATH")
    port = parts.hosts[0].rpartition("]")[2].partition(":")[2]
    if port and int(port) > 65535:
        raise ValueError("the port must be at most 65535")
    return scheme, parts


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
    """Return the password of a valid address, as it is written there and as it is sent."""
    parts = _split(address)[1]
    given = dict(parts.parameters()).get("password", "")
    return sorted({parts.password, unquote(parts.password), given} - {""})
