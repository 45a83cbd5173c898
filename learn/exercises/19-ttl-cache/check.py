import asyncio

import pytest


class Source:
    def __init__(self):
        self.now = 0.0
        self.loaded = []
        self.broken = False

    async def load(self, key):
        self.loaded.append(key)
        await asyncio.sleep(0)
        if self.broken:
            raise ConnectionError
        return key.upper()


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def cache(exercise, source):
    return exercise.Cache(source.load, 60, lambda: source.now)


def get(cache, *keys):
    async def run():
        return [await cache.get(key) for key in keys]

    return asyncio.run(run())


def test_value_is_loaded_once(cache, source):
    assert get(cache, "a", "a", "b") == ["A", "A", "B"]
    assert source.loaded == ["a", "b"]


def test_entry_expires(cache, source):
    get(cache, "a")
    source.now = 59.9
    get(cache, "a")
    assert source.loaded == ["a"]
    source.now = 60.0
    get(cache, "a")
    assert source.loaded == ["a", "a"]


def test_forgotten_key_is_loaded_again(cache, source):
    cache.forget("unknown")
    get(cache, "a")
    cache.forget("a")
    get(cache, "a")
    assert source.loaded == ["a", "a"]


def test_error_is_not_cached(cache, source):
    source.broken = True
    with pytest.raises(ConnectionError):
        get(cache, "a")
    source.broken = False
    assert get(cache, "a") == ["A"]


def test_concurrent_callers_load_once(cache, source):
    async def run():
        return await asyncio.gather(*(cache.get("a") for _ in range(5)))

    assert asyncio.run(run()) == ["A"] * 5
    assert source.loaded == ["a"]
