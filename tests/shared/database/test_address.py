"""`DATABASE_URL` as PostgreSQL's own and other tools write it."""

from pathlib import Path

import pytest

from shared.database.address import check_session_address, connection_parameters, passwords

SECRET = "s3cret-of-the-database"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("postgresql://u:p@h:5433/d", {"user": "u", "password": "p", "host": "h", "port": "5433", "dbname": "d"}),
        ("postgres://h/d", {"host": "h", "dbname": "d"}),
        ("postgresql://h/d\n", {"host": "h", "dbname": "d"}),
        ("postgresql+psycopg://h/d", {"host": "h", "dbname": "d"}),
        ("postgresql+psycopg2://h/d", {"host": "h", "dbname": "d"}),
        ("postgresql+asyncpg://h/d?ssl=require", {"host": "h", "dbname": "d", "sslmode": "require"}),
        ("jdbc:postgresql:d", {"dbname": "d"}),
        (
            "jdbc:postgresql://h/d?user=u&password=p&ssl=true&ApplicationName=a&loginTimeout=9",
            {
                "host": "h",
                "dbname": "d",
                "user": "u",
                "password": "p",
                "sslmode": "require",
                "application_name": "a",
                "connect_timeout": "9",
            },
        ),
        ("postgresql://h1:1,h2:2/d", {"host": "h1,h2", "port": "1,2", "dbname": "d"}),
        ("postgresql://h1,h2:2/d?target_session_attrs=any", {"host": "h1,h2", "port": ",2", "dbname": "d"}),
        ("jdbc:postgresql://h1,h2/d?targetServerType=primary", {"host": "h1,h2", "dbname": "d"}),
        ("postgresql:///d?host=h1:1&host=[::1]:2", {"host": "h1,::1", "port": "1,2", "dbname": "d"}),
        ("postgresql://[::1]:5433/d", {"host": "::1", "port": "5433", "dbname": "d"}),
        ("postgresql:///d?host=::1", {"host": "::1", "dbname": "d"}),
        ("postgresql://h:/d", {"host": "h", "dbname": "d"}),
        ("postgresql://u@%2Fvar%2Frun/d", {"user": "u", "host": "/var/run", "dbname": "d"}),
        ("postgresql:///d?host=/cloudsql/p:r:i", {"host": "/cloudsql/p:r:i", "dbname": "d"}),
        ("postgresql://u:%40%2f%3a%25@h/d", {"user": "u", "password": "@/:%", "host": "h", "dbname": "d"}),
        ("postgresql://u:p@s/?#:%w@h/d", {"user": "u", "password": "p@s/?#:%w", "host": "h", "dbname": "d"}),
        ("postgresql://h/d?sslmode=no-verify", {"host": "h", "dbname": "d", "sslmode": "require"}),
        ("postgresql://h/d?ssl=false", {"host": "h", "dbname": "d", "sslmode": "disable"}),
        ("postgresql://h/d?channel_binding=require", {"host": "h", "dbname": "d", "channel_binding": "require"}),
        ("postgresql://h/d?sslrootcert=system", {"host": "h", "dbname": "d", "sslrootcert": "system"}),
        ("postgresql://h/d?pgbouncer=false&", {"host": "h", "dbname": "d"}),
        ("postgresql://h/d?schema=a b", {"host": "h", "dbname": "d", "options": r"-c search_path=a\ b"}),
        (
            "postgresql://h/d?options=-c+search_path%3Da&currentSchema=b",
            {"host": "h", "dbname": "d", "options": "-c search_path=a -c search_path=b"},
        ),
        ("postgresql://h/d?options=-c search_path=a", {"host": "h", "dbname": "d", "options": "-c search_path=a"}),
    ],
)
def test_address_is_understood_as_its_tool_means_it(address: str, expected: dict[str, str]) -> None:
    assert connection_parameters(address) == expected | {"target_session_attrs": "read-write"}


@pytest.mark.parametrize("parameter", ["pgbouncer=true", "statement_cache_size=0", "prepareThreshold=0"])
def test_pooler_in_transaction_mode_needs_another_address_for_sessions(parameter: str) -> None:
    address = f"postgresql://h:6432/d?{parameter}"

    assert connection_parameters(address) == connection_parameters("postgresql://h:6432/d")
    check_session_address(address, "postgresql://h/d")
    check_session_address("postgresql://h/d?pgbouncer=false", None)
    for missing in (None, address):
        with pytest.raises(ValueError, match="DATABASE_SESSION_URL must be the address"):
            check_session_address(address, missing)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("pgbouncer=true&schema=a", "options and schema cannot be set through a pooler in transaction mode"),
        ("connection_limit=10", "connection_limit is not a parameter of libpq; use DB_POOL_SIZE instead"),
        ("pool_timeout=10", "pool_timeout is not a parameter of libpq; use DB_POOL_TIMEOUT_SECONDS instead"),
        ("socketTimeout=10", "socketTimeout is not a parameter of libpq; use DB_STATEMENT_TIMEOUT_SECONDS instead"),
        ("sslaccept=strict", "sslaccept is not a parameter of libpq; use sslmode"),
        ("serverVersion=16", "serverVersion is not a parameter of libpq"),
        ("target_session_attrs=standby", "target_session_attrs must be read-write"),
        ("targetServerType=secondary", "target_session_attrs must be read-write"),
        (f"sslmode={SECRET}", "sslmode has an invalid value"),
        ("channel_binding=yes", "channel_binding has an invalid value"),
        ("load_balance_hosts=yes", "load_balance_hosts has an invalid value"),
        ("ssl_min_protocol_version=1", "ssl_min_protocol_version has an invalid value"),
        ("connect_timeout=3s", "connect_timeout must be a number"),
        ("keepalives_idle=x", "keepalives_idle must be a number"),
        ("port=1,2,3", "port has an invalid value"),
        ("sslrootcert=/nonexistent/ca.pem", "sslrootcert names a file that does not exist"),
        (f"{SECRET}&sslmode=disable", "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
    ],
)
def test_parameter_without_meaning_is_named_in_one_line(parameter: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        connection_parameters(f"postgresql://u:{SECRET}@h/d?{parameter}")

    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "mysql://h/d",
        "db.example",
        "host=h dbname=d",
        f'"postgresql://u:{SECRET}@h/d"',
        f"postgresql://u:{SECRET}@[::1/d",
        f"postgresql://u:{SECRET}@h:port/d",
        f"postgresql://u:{SECRET}@h:70000/d",
        f"postgresql://u:{SECRET}%20%00@h/d",
        f"postgresql://u:{SECRET}@h/d%00",
    ],
)
def test_malformed_address_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(ValueError, match=r"postgresql:// address|USER:PASSWORD@HOST|port") as caught:
        connection_parameters(address)

    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_host_address_of_the_environment_is_not_used_by_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")

    assert connection_parameters("postgresql://h:1/d")["host"] == "h"


def test_certificate_file_that_exists_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.touch()

    assert connection_parameters(f"postgresql://h/d?sslrootcert={file}")["sslrootcert"] == str(file)


def test_password_is_secret_as_written_and_as_sent() -> None:
    assert passwords("postgresql://u:a%20b@h1,h2/d") == ["a b", "a%20b"]
    assert passwords("postgresql://h/d?user=u&password=p") == ["p"]
    assert passwords("postgresql://h/d") == []
