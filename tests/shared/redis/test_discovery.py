"""The primary of a cluster, as its nodes name it."""

from typing import Any, Self

import pytest

from shared.redis import discovery
from shared.redis.address import redis_address


@pytest.mark.parametrize(("name", "host"), [(b"10.0.0.7", "10.0.0.7"), (b"", "node"), (None, "node")])
async def test_node_without_a_name_has_that_of_the_address(
    monkeypatch: pytest.MonkeyPatch, name: bytes | None, host: str
) -> None:
    class Node:
        def __init__(self, **_: object) -> None:
            pass

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def execute_command(self, *_: str) -> list[Any]:
            return [[0, 16383, [name, 7000, b"id"]]]

    monkeypatch.setattr(discovery, "Redis", Node)
    connection = discovery.primary_connections(redis_address("redis+cluster://node:6379"), {}, "{service}")

    assert await connection["find_primary"]() == (host, 7000)
