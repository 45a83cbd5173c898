import asyncio
from types import ModuleType
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisDown

_ADA = {"name": "Ada", "langue": "français"}


class _Redis:
    """GET, SET and DEL as redis-py has them; values come back as bytes."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.lifetimes: list[int | None] = []
        self.is_down = False

    def _work(self) -> None:
        if self.is_down:
            raise RedisDown("Error 111 connecting to localhost:6379")

    async def get(self, name: str) -> bytes | None:
        self._work()
        return self.values.get(name)

    async def set(self, name: str, value: str | bytes, ex: int | None = None) -> bool:
        self._work()
        self.values[name] = value.encode() if isinstance(value, str) else value
        self.lifetimes.append(ex)
        return True

    async def delete(self, *names: str) -> int:
        self._work()
        return sum(self.values.pop(name, None) is not None for name in names)


class _Database:
    def __init__(self) -> None:
        self.profiles = {"ada": _ADA, "tim": {"name": "Tim"}}
        self.reads = 0

    async def load(self, user: str) -> dict[str, Any]:
        self.reads += 1
        return dict(self.profiles[user])


@pytest.fixture
def redis() -> _Redis:
    return _Redis()


@pytest.fixture
def database() -> _Database:
    return _Database()


@pytest.fixture
def cache(exercise: ModuleType, redis: _Redis, database: _Database) -> Any:
    return exercise.ProfileCache(redis, database.load, 60)


def test_second_read_comes_from_redis(cache: Any, redis: _Redis, database: _Database) -> None:
    async def read() -> list[Any]:
        return [await cache.get("ada"), await cache.get("ada"), await cache.get("tim")]

    assert asyncio.run(read()) == [_ADA, _ADA, {"name": "Tim"}]
    assert database.reads == 2, "one read for each user / 每个用户只读一次数据库"
    assert set(redis.values) == {"profile:ada", "profile:tim"}


def test_entries_expire_at_different_times(cache: Any, redis: _Redis) -> None:
    async def read() -> None:
        for _ in range(50):
            redis.values.clear()
            await cache.get("ada")

    asyncio.run(read())
    assert None not in redis.lifetimes, "without EX an entry stays for ever / 不带 EX 的键永不过期"
    assert all(60 <= seconds <= 66 for seconds in redis.lifetimes if seconds)
    assert len(set(redis.lifetimes)) > 1


def test_service_works_without_redis(cache: Any, redis: _Redis, database: _Database) -> None:
    async def read() -> list[Any]:
        redis.is_down = True
        read = [await cache.get("ada")]
        await cache.update("ada", _nothing)
        return read

    assert asyncio.run(read()) == [_ADA]
    assert database.reads == 1, "the database is read once / 数据库只读一次"


async def _nothing() -> None: ...


def test_value_is_returned_if_it_cannot_be_stored(cache: Any, redis: _Redis, database: _Database) -> None:
    async def load(user: str) -> dict[str, Any]:
        redis.is_down = True
        return await database.load(user)

    cache.load = load
    assert asyncio.run(cache.get("ada")) == _ADA


def test_error_of_the_database_is_raised_and_not_cached(cache: Any, redis: _Redis) -> None:
    with pytest.raises(KeyError):
        asyncio.run(cache.get("nobody"))
    assert redis.values == {}


def test_change_is_visible_at_once(cache: Any, database: _Database) -> None:
    async def change() -> Any:
        await cache.get("ada")

        async def save() -> None:
            await cache.get("ada")  # somebody reads in the meantime
            database.profiles["ada"] = {"name": "Ada Lovelace"}

        await cache.update("ada", save)
        return await cache.get("ada")

    assert asyncio.run(change()) == {"name": "Ada Lovelace"}, (
        "a reader between the steps cached the old profile / 两步之间的读者把旧资料放进了缓存"
    )


def test_failed_change_raises(cache: Any) -> None:
    async def save() -> None:
        raise LookupError("the database is read-only")

    with pytest.raises(LookupError):
        asyncio.run(cache.update("ada", save))
