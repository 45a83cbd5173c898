"""`DATABASE_URL`: check an address, and translate what other tools write there into parameters of libpq.

libpq is PostgreSQL's client library, which psycopg uses. The messages of errors name parameters, never values: libpq's
own would quote an address with its password.
"""

import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from urllib.parse import unquote

from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo, PGconn

from shared.address import Address, split_address

_SCHEME = re.compile(r"(?:jdbc:)?postgres(?:ql)?(?:\+\w+)?:(?P<slashes>//)?(?P<rest>.*)", re.DOTALL)
_HOST_AND_PORT = re.compile(r"(?P<host>\[.*\]|[^:]*|.*:.*:.*):?(?P<port>\d*)")
_FORM = "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE; use percent-encoding for special characters"

_KNOWN = {option.keyword.decode() for option in Conninfo.get_defaults()}
_FILES = ("sslrootcert", "sslcert", "sslkey")
_SECONDS = ("connect_timeout", "tcp_user_timeout", "keepalives", "keepalives_idle", "keepalives_interval")
_NUMBERS = (*_SECONDS, "keepalives_count")

_RENAMED = {
    "ApplicationName": "application_name",  # JDBC
    "connectTimeout": "connect_timeout",
    "currentSchema": "search_path",
    "loginTimeout": "connect_timeout",
    "schema": "search_path",  # Prisma
    "ssl": "sslmode",  # asyncpg, JDBC, node-postgres
    "targetServerType": "target_session_attrs",
}
_SSL_MODES = {
    **dict.fromkeys(("true", "1", "on", "yes", "no-verify"), "require"),
    **dict.fromkeys(("false", "0", "off", "no"), "disable"),
}
_PRIMARY = ("read-write", "primary", "master", "any")
# Parameters of other tools for which the service has settings.
_SETTINGS = {
    **dict.fromkeys(
        ("connection_limit", "max_connections", "maxPoolSize", "maximumPoolSize", "pool", "pool_max_conns"),
        "DB_POOL_SIZE",
    ),
    **dict.fromkeys(("pool_size", "max_overflow", "poolSize", "max_size", "min_size"), "DB_POOL_SIZE"),
    **dict.fromkeys(("pool_timeout", "connectionTimeout"), "DB_POOL_TIMEOUT_SECONDS"),
    **dict.fromkeys(
        ("command_timeout", "query_timeout", "socket_timeout", "socketTimeout", "statement_timeout"),
        "DB_STATEMENT_TIMEOUT_SECONDS",
    ),
    **dict.fromkeys(("sslaccept", "sslfactory", "sslidentity"), "sslmode, sslrootcert, sslcert and sslkey"),
}
# Parameters of other tools for a pooler in transaction mode, and the values that mean none.
_POOLER = {
    "pgbouncer": ("false", "0"),
    "prepareThreshold": (),
    "prepared_statements": ("true", "1"),
    "prepared_statement_cache_size": (),
    "statement_cache_size": (),
}


def connection_parameters(address: str) -> dict[str, str]:
    """Return libpq's parameters for an address. Of several hosts, connections are made to the writable one.

    Raises:
        ValueError: with one line that names the fault, without a value.
    """
    parts = _split(address)
    hosts, ports = _hosts(parts.hosts)
    parameters = {
        "user": unquote(parts.user),
        "password": unquote(parts.password),
        "host": hosts,
        "port": ports,
        "dbname": unquote(parts.path),
    }
    for name, value in _parameters(parts):
        if name not in _POOLER:
            _add(parameters, name, value)
    if "options" in parameters and is_transaction_pooler(address):
        raise ValueError("options and schema cannot be set through a pooler in transaction mode; set them for the role")
    parameters = {name: value for name, value in parameters.items() if value}
    parameters["target_session_attrs"] = "read-write"
    _check(parameters)
    return parameters


def is_transaction_pooler(address: str) -> bool:
    """Return whether an address is of a pooler in transaction mode: `pgbouncer=true`, or what other tools write."""
    return any(name in _POOLER and value.lower() not in _POOLER[name] for name, value in _split(address).parameters())


def check_session_address(address: str, session_address: str | None) -> None:
    """Check that there is an address for what needs a session, such as listening for notifications.

    Raises:
        ValueError: with one line that names the settings.
    """
    if is_transaction_pooler(session_address or address):
        raise ValueError(
            "DATABASE_SESSION_URL must be the address of the database itself, because DATABASE_URL is a pooler in "
            "transaction mode"
        )


def _split(address: str) -> Address:
    scheme = _SCHEME.fullmatch(address.strip())
    if scheme is None:
        raise ValueError("must be a postgresql:// address")
    parts = split_address(scheme["rest"] if scheme["slashes"] else "/" + scheme["rest"].lstrip("/"))
    if parts is None:
        raise ValueError(_FORM)
    return parts


def _hosts(places: Sequence[str]) -> tuple[str, str]:
    """Return libpq's `host` and `port` for places such as `h`, `h:1`, `[::1]:1` and `%2Ftmp`."""
    found = [match for place in places if (match := _HOST_AND_PORT.fullmatch(place))]
    hosts, ports = ([unquote(match[name] or "") for match in found] for name in ("host", "port"))
    return ",".join(host.strip("[]") for host in hosts), ",".join(ports) if any(ports) else ""


def _parameters(parts: Address) -> Iterator[tuple[str, str]]:
    hosts = []
    for name, value in parts.parameters():
        if name == "host" and not value.startswith("/"):
            hosts += value.split(",")
        elif name == "options":
            yield name, value.replace("+", " ")  # other tools encode a space in that way
        else:
            yield name, value
    if hosts:  # SQLAlchemy writes several of them, with ports
        yield from filter(itemgetter(1), zip(("host", "port"), _hosts(hosts), strict=True))


def _add(parameters: dict[str, str], name: str, value: str) -> None:
    """Add a parameter of an address's query, translated from the tool that defines it."""
    if name in _SETTINGS:
        raise ValueError(f"{name} is not a parameter of libpq; use {_SETTINGS[name]} instead")
    name = _RENAMED.get(name, name)
    if name == "search_path":
        escaped = re.sub(r"([\\\s])", r"\\\1", value)
        name, value = "options", f"-c search_path={escaped}"
    elif name == "sslmode":
        value = _SSL_MODES.get(value.lower(), value)
    elif name == "target_session_attrs" and value not in _PRIMARY:
        raise ValueError("target_session_attrs must be read-write, because the service writes")
    if name not in _KNOWN:
        raise ValueError(f"{name} is not a parameter of libpq" if name.isidentifier() else _FORM)
    if name == "options" and name in parameters:
        value = f"{parameters[name]} {value}"
    parameters[name] = value


def _check(parameters: dict[str, str]) -> None:
    """Check the values, most of them by libpq itself: it does so before it connects."""
    for name in _NUMBERS:
        if not parameters.get(name, "0").isdigit():
            raise ValueError(f"{name} must be a number")
    for name in _FILES:
        file = parameters.get(name, "system")
        if file != "system" and not Path(file).is_file():
            raise ValueError(f"{name} names a file that does not exist")
    if any("\0" in value for value in parameters.values()):
        raise ValueError(_FORM)
    hosts = ",".join("/nonexistent" for _ in parameters.get("host", "").split(","))
    # An empty value also takes precedence over PGHOSTADDR.
    checked = {name: value for name, value in parameters.items() if name != "service"} | {"host": hosts, "hostaddr": ""}
    message = PGconn.connect_start(make_conninfo("", **checked).encode()).error_message.decode(errors="replace")
    if "/nonexistent" not in message:
        named = [name for name in _KNOWN & parameters.keys() if re.search(rf'\b{name}\b"? |option "{name}"', message)]
        raise ValueError(f"{min(named, default='port')} has an invalid value")


def passwords(address: str) -> list[str]:
    """Return the password of a valid address, as it is written there and as it is sent."""
    return sorted(filter(None, {_split(address).password, connection_parameters(address).get("password")}))
