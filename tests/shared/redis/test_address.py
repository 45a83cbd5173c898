"""`REDIS_URL` as Redis' own and other tools write it."""

from dataclasses import dataclass
from typing import Any

import pytest

from shared.redis.address import passwords, redis_address
from shared.redis.client import create_redis

SECRET = "s3cret-of-redis"


@dataclass(frozen=True)
class Settings:
    """Settings of a Redis client."""

    redis_url: str
    redis_names: str = "test"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("redis://h", {"host": "h"}),
        ("redis://h:6380/2\n", {"host": "h", "port": 6380, "db": 2}),
        ("redis://[::1]:6380?db=2", {"host": "::1", "port": 6380, "db": 2}),
        ("redis://u:p%40%2F@h/0", {"host": "h", "username": "u", "password": "p@/", "db": 0}),
        ("redis://:p@s/?#:%w@h/0", {"host": "h", "password": "p@s/?#:%w", "db": 0}),
        ("redis://h?family=0", {"host": "h"}),
        ("valkey://h/1", {"host": "h", "db": 1}),
        ("valkeys://h", {"host": "h", "tls": True}),
        ("redis+ssl://h", {"host": "h", "tls": True}),
        ("rediss://h?ssl_cert_reqs=none", {"host": "h", "ssl_cert_reqs": "none", "tls": True}),
        ("rediss://h/1?ssl_cert_reqs=CERT_NONE", {"host": "h", "db": 1, "ssl_cert_reqs": "none", "tls": True}),
        ("unix:///run/redis.sock?db=1", {"path": "/run/redis.sock", "db": 1}),
        ("redis+socket://:p@/run/redis.sock", {"path": "/run/redis.sock", "password": "p"}),
    ],
)
def test_address_is_understood_as_its_tool_means_it(address: str, expected: dict[str, Any]) -> None:
    pool = create_redis(Settings(address)).connection_pool
    connection = pool.make_connection()  # type: ignore[no-untyped-call]  # fails if a parameter is unknown

    names = ("host", "port", "db", "username", "password", "path", "ssl_cert_reqs")
    found = {name: pool.connection_kwargs[name] for name in names if name in pool.connection_kwargs}
    assert found | ({"tls": True} if type(connection).__name__ == "SSLConnection" else {}) == expected


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("redis+cluster://h:6379/1", "a cluster has no database but 0"),
        ("redis+sentinel://h:26379", "must end with the name of the service"),
        ("redis+sentinel://h/mymaster/first", "the database must be a number"),
        ("unix+sentinel://h/mymaster", "must be a redis:// or rediss:// address"),
        ("redis://h?sentinel_password=p", "sentinel_password cannot be set in the address"),
        ("redis://h1:6379,h2:6379", "must be the address of one redis:// server"),
        ("http://h", "must be a redis:// or rediss:// address"),
        ("h:6379", "must be a redis:// or rediss:// address"),
        (f'"redis://:{SECRET}@h"', "must be a redis:// or rediss:// address"),
        (f"redis://:{SECRET}@h/first", "the database must be a number"),
        (f"redis://:{SECRET}@h/0/1", "the database must be a number"),
        (f"redis://:{SECRET}@h?db=x", "the database must be a number"),
        (f"redis://:{SECRET}@h:port/0", "must be redis://USER:PASSWORD@HOST:PORT/NUMBER"),
        (f"redis://:{SECRET}@h:70000", "the port must be at most 65535"),
        ("redis://h?ssl_cert_reqs=none", "ssl_cert_reqs needs an address with rediss://"),
        (f"rediss://h?ssl_cert_reqs={SECRET}", "ssl_cert_reqs must be one of none, optional, required"),
        ("rediss://h?ssl_ca_certs=/nonexistent/ca.pem", "ssl_ca_certs names a file that does not exist"),
        ("rediss://h?ssl_check_hostname=maybe", "ssl_check_hostname must be one of true"),
        ("redis://h?max_connections=5", "max_connections cannot be set in the address"),
        ("redis://h?decode_responses=true", "decode_responses cannot be set in the address"),
        ("redis://h?protocol=3", "protocol cannot be set in the address"),
        ("redis://h?tls=true", "tls cannot be set in the address"),
        ("unix://", "must have the form unix:///PATH"),
    ],
)
def test_address_without_meaning_is_refused_in_one_line(address: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        redis_address(address)

    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_address_of_sentinels_names_them_their_service_and_their_credentials() -> None:
    address = redis_address("rediss+sentinel://u:p@s1,[::1]:26380/main/2?sentinel_username=w&sentinel_password=q%2F")

    assert address.topology == "sentinel"
    assert address.places == (("s1", 26379), ("::1", 26380))
    assert (address.service, address.sentinel_credentials) == ("main", {"username": "w", "password": "q/"})
    assert address.url == "rediss://u:p@s1/2"
    assert "q/" not in repr(address)


def test_keys_lie_in_one_slot_of_a_cluster() -> None:
    client = create_redis(Settings("redis-cluster://n1:7000,n2:7001"))

    assert redis_address("redis-cluster://n1:7000,n2").places == (("n1", 7000), ("n2", 6379))
    assert client.key("a") == "{test}:a"


def test_password_is_secret_as_written_and_as_sent() -> None:
    assert passwords("redis://:a%20b@h") == ["a b", "a%20b"]
    assert passwords("redis://h?password=p") == ["p"]
    assert passwords("redis+sentinel://h/a?sentinel_password=q") == ["q"]
    assert passwords("redis://h") == []
