"""Revocation across processes: it takes effect at once, also in a race, and without Redis."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import httpx2
import pytest
from psycopg import AsyncConnection
from redis import Redis

from local.services import valkey
from local.state import StageState
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import bearer, gets_in, register, sign_in

EMAIL = "ada@example.com"


def client_of(url: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False)


async def _log_out(client: httpx2.AsyncClient, tokens: dict[str, Any]) -> httpx2.Response:
    return await client.post("/auth/logout", json={"refresh_token": tokens["refresh_token"]})


async def _log_out_everywhere(client: httpx2.AsyncClient, tokens: dict[str, Any]) -> httpx2.Response:
    return await client.post("/auth/logout-all", headers=bearer(tokens))


async def _reuse_refresh_token(client: httpx2.AsyncClient, tokens: dict[str, Any]) -> httpx2.Response:
    body = {"refresh_token": tokens["refresh_token"]}
    await client.post("/auth/refresh", json=body)
    return await client.post("/auth/refresh", json=body)


async def _delete_account(client: httpx2.AsyncClient, tokens: dict[str, Any]) -> httpx2.Response:
    return await client.delete("/auth/me", headers=bearer(tokens))


@pytest.mark.parametrize(
    ("end", "status"),
    [(_log_out, 204), (_log_out_everywhere, 204), (_reuse_refresh_token, 401), (_delete_account, 204)],
)
async def test_revocation_rejects_every_later_request(
    serve4: Serve, end: Callable[..., Awaitable[httpx2.Response]], status: int
) -> None:
    with serve4() as here, serve4() as there:
        async with client_of(here) as client, client_of(there) as other:
            await register(client, EMAIL)
            tokens = await sign_in(client, EMAIL)
            over = asyncio.Event()

            async def keep_asking(one: httpx2.AsyncClient) -> list[int]:
                late: list[int] = []
                while len(late) < 3:
                    sent_late = over.is_set()
                    answer = await gets_in(one, bearer(tokens))
                    if sent_late:
                        late.append(answer)
                return late

            asking = [asyncio.create_task(keep_asking(one)) for one in (client, other) * 4]
            await asyncio.gather(*(gets_in(one, bearer(tokens)) for one in (client, other) * 10))
            answer = await end(client, tokens)
            over.set()

            assert answer.status_code == status
            assert await asyncio.gather(*asking) == [[401] * 3] * 8


async def test_redis_version_decides_when_to_query_postgresql(serve4: Serve, redis_url: str) -> None:
    with serve4() as url:
        async with client_of(url) as client:
            await register(client, EMAIL)
            tokens = await sign_in(client, EMAIL)
            assert [await gets_in(client, bearer(tokens)) for _ in range(2)] == [200, 200]

            with closing(Redis.from_url(redis_url)) as redis:
                (stamp,) = redis.keys("*:account:*")
                redis.flushdb()  # as a Redis that comes back empty
                assert await gets_in(client, bearer(tokens)) == 200
                assert redis.exists(stamp)


async def test_concurrent_lookups_share_one_query(serve4: Serve, database_url: str) -> None:
    """Otherwise a busy account would take every connection whenever its cache entry expires."""
    with serve4(db_pool_size=1, db_pool_timeout_seconds=1) as url:
        async with client_of(url) as client:
            await register(client, EMAIL)
            tokens = await sign_in(client, EMAIL)
            async with await AsyncConnection.connect(database_url) as other:
                await other.execute("LOCK TABLE sign_ins IN ACCESS EXCLUSIVE MODE")
                asking = [asyncio.create_task(gets_in(client, bearer(tokens))) for _ in range(10)]
                await asyncio.sleep(1.5)
                assert not any(task.done() for task in asking)

            assert await asyncio.gather(*asking) == [200] * 10


@pytest.mark.slow
async def test_revocation_holds_without_redis(serve4: Serve, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Redis fails while both processes trust their caches, and recovers with its data."""
    state = StageState("tests")
    state.folder = tmp_path_factory.mktemp("valkey")
    child, found_by = valkey(state, {})
    await child.start()
    try:
        with serve4(redis_url=found_by["REDIS_URL"]) as here, serve4(redis_url=found_by["REDIS_URL"]) as there:
            async with client_of(here) as client, client_of(there) as other:
                await register(client, EMAIL)
                tokens = await sign_in(client, EMAIL)
                assert [await gets_in(one, bearer(tokens)) for one in (client, other) * 3] == [200] * 6
                await child.stop()

                assert (await _log_out(client, tokens)).status_code == 204

                await child.start()
                assert [await gets_in(one, bearer(tokens)) for one in (client, other)] == [401, 401]
    finally:
        await child.stop()
