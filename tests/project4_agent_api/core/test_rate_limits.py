"""Rate limits: how many requests pass, for whom, over how many processes, and what the answers say about it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx2
import pytest
from starlette.types import Message, Receive, Send

from project4_agent_api.core import request_costs
from project4_agent_api.core.rate_limits import CostLimits, RateLimit, RateLimiter, client_network
from project4_agent_api.core.request_costs import Pacing, RequestCost, serve_metered
from project4_agent_api.settings import Settings
from shared.database.driver import DeadlineConnection
from shared.errors import Limit, TooManyRequests
from shared.redis.client import create_redis
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import bearer, register, sign_in


def client_of(url: str, *, at_once: int | None = None) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=at_once)
    return httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=limits)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.8", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),  # a client that has one of these has all
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
def test_address_is_counted_as_its_network(one: str, other: str, same: bool) -> None:
    assert (client_network(one) == client_network(other)) is same


async def test_exactly_100_of_300_requests_pass_in_two_processes(serve4: Serve) -> None:
    limits = {"rate_limit_per_minute": 100, "rate_limit_seconds_per_minute": 1e6}  # a busy machine works long
    with serve4(**limits) as here, serve4(**limits) as there:
        async with client_of(here, at_once=20) as client, client_of(there, at_once=20) as other:
            for email in ("ada@example.com", "bob@example.com"):
                await register(client, email)
            ada, bob = [bearer(await sign_in(client, email)) for email in ("ada@example.com", "bob@example.com")]

            answers = await asyncio.gather(
                *((client, other)[i % 2].get("/auth/me", headers=ada) for i in range(300)),
                *(client.get("/auth/me", headers=bob) for _ in range(20)),
            )
            adas, bobs = answers[:300], answers[300:]

            assert Counter(answer.status_code for answer in adas) == {200: 100, 429: 200}
            assert {answer.status_code for answer in bobs} == {200}
            passed = [int(answer.headers["ratelimit-remaining"]) for answer in adas if answer.status_code == 200]
            assert sorted(passed) == list(range(100))
            refused = next(answer for answer in adas if answer.status_code == 429)
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["type"] == "urn:problem:too-many-requests"
            assert refused.headers["ratelimit-limit"] == "100"
            assert refused.headers["ratelimit-policy"] == "100;w=60"
            assert refused.headers["ratelimit-remaining"] == "0"
            assert 0 < int(refused.headers["retry-after"]) <= 60
            assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"]


async def test_key_and_token_share_the_users_limit(serve4: Serve) -> None:
    with serve4(rate_limit_per_minute=5) as url:
        async with client_of(url) as client:
            await register(client, "ada@example.com")
            token = bearer(await sign_in(client, "ada@example.com"))
            made = await client.post("/auth/api-keys", json={"name": "job"}, headers=token)
            key = {"X-Api-Key": made.json()["key"]}

            statuses = [
                (await client.get("/auth/me", headers=headers)).status_code
                for headers in (key, token, key, token, key, token)
            ]

    assert statuses == [200] * 4 + [429] * 2


async def test_anonymous_requests_are_counted_by_address(serve4: Serve) -> None:
    with serve4(rate_limit_per_minute=6) as url:
        async with client_of(url) as client:
            await register(client, "ada@example.com")
            ada = bearer(await sign_in(client, "ada@example.com"))
            await client.post("/auth/logout", json={"refresh_token": "x"})

            wrong = [await client.get("/auth/me", headers={"Authorization": "Bearer x"}) for _ in range(4)]

            assert [answer.status_code for answer in wrong] == [401] * 3 + [429]
            assert wrong[0].headers["ratelimit-remaining"] == "2"
            assert wrong[0].headers["www-authenticate"] == "Bearer"
            assert (await client.post("/auth/logout", json={"refresh_token": "x"})).status_code == 429
            assert (await client.get("/auth/me", headers=ada)).status_code == 200


async def test_documentation_is_counted_by_address(serve4: Serve) -> None:
    with serve4(rate_limit_per_minute=3) as url:
        async with client_of(url) as client:
            document = await client.get("/openapi.json")
            unchanged = await client.get("/openapi.json", headers={"If-None-Match": document.headers["ETag"]})
            page = await client.get("/docs")
            refused = await client.get("/openapi.json")

    assert (document.status_code, document.headers["ratelimit-remaining"]) == (200, "2")
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert (page.headers["X-Frame-Options"], refused.status_code) == ("DENY", 429)


async def test_probes_are_not_counted(serve4: Serve) -> None:
    with serve4(rate_limit_per_minute=1) as url:
        async with client_of(url) as client:
            for path in ("/health", "/ready", "/ok", "/health", "/ready", "/ok"):
                answer = await client.get(path)
                assert (answer.status_code, "ratelimit-limit" in answer.headers) == (200, False)


async def test_rejected_request_body_is_not_read(serve4: Serve) -> None:
    with serve4(rate_limit_per_minute=1) as url:
        async with client_of(url) as client:
            await client.post("/auth/refresh", json={"refresh_token": "x"})
            address = client.base_url
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(b"POST /auth/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{")

            async with asyncio.timeout(120):
                assert await reader.readline() == b"HTTP/1.1 429 Too Many Requests\r\n"

            writer.close()
            await writer.wait_closed()


async def test_limits_are_counted_locally_without_redis(serve4: Serve) -> None:
    with serve4(rate_limit_per_minute=10, redis_url="redis://127.0.0.1:1") as url:
        async with client_of(url) as client:
            await register(client, "ada@example.com")
            ada = bearer(await sign_in(client, "ada@example.com"))

            answers = await asyncio.gather(*(client.get("/auth/me", headers=ada) for _ in range(15)))

    assert Counter(answer.status_code for answer in answers) == {200: 10, 429: 5}
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"10"}


async def test_bytes_of_a_user_are_limited_in_all_processes(serve4: Serve) -> None:
    with serve4(rate_limit_mb_per_minute=1) as here, serve4(rate_limit_mb_per_minute=1) as there:
        async with client_of(here) as client, client_of(there) as other:
            for email in ("ada@example.com", "bob@example.com"):
                await register(client, email)
            ada, bob = [bearer(await sign_in(client, email)) for email in ("ada@example.com", "bob@example.com")]
            item = {"namespace": ["notes"], "key": "1", "value": {"text": "x" * 900_000}}

            stored = [(await client.put("/store/items", json=item, headers=ada)).status_code for _ in range(2)]
            refused = await client.get("/auth/me", headers=ada)
            refused_there = await other.get("/auth/me", headers=ada)
            admitted = await client.get("/auth/me", headers=bob)

    assert stored == [204, 204]
    assert (refused.status_code, refused_there.status_code, admitted.status_code) == (429, 429, 200)
    limit = refused.json()["limit"]
    assert (limit["name"], limit["maximum"]) == ("rate_limit_mb_per_minute", 1024 * 1024)
    assert 1_700_000 < limit["used"] < 1_900_000
    assert "1,048,576 bytes in a minute" in refused.json()["detail"]
    assert 0 < int(refused.headers["retry-after"]) <= 60


LIMIT = RateLimit("user", 10, costs=CostLimits(seconds=30))


@pytest.fixture
async def limiter(make_settings4: Callable[..., Settings]) -> AsyncIterator[RateLimiter]:
    redis = create_redis(make_settings4())
    yield RateLimiter(redis)
    await redis.aclose()


@pytest.mark.parametrize(("seconds", "reset"), [((29,), None), ((29, 1.9), 2), ((45,), 30)])
async def test_requests_are_refused_until_their_seconds_are_paid_off(
    limiter: RateLimiter, seconds: tuple[float, ...], reset: int | None
) -> None:
    for each in seconds:
        limiter.charge(LIMIT, "ada", RequestCost(seconds=each))

    counted, others = await limiter.count(LIMIT, "ada"), await limiter.count(LIMIT, "bob")

    assert others.exceeded is None
    if reset is None:
        assert (counted.allowed, counted.remaining) == (True, 9)
        return
    assert (counted.allowed, counted.remaining, counted.reset) == (False, 10, reset)
    assert counted.exceeded == Limit("rate_limit_seconds_per_minute", 30, int(sum(seconds)))
    with pytest.raises(TooManyRequests, match="30 seconds of work in a minute"):
        counted.check()


async def test_costs_are_charged_after_an_outage_of_redis(
    limiter: RateLimiter, make_settings4: Callable[..., Settings]
) -> None:
    working, limiter.client = limiter.client, create_redis(make_settings4(redis_url="redis://127.0.0.1:1"))
    limiter._script.registered_client = limiter.client
    limiter.charge(LIMIT, "ada", RequestCost(seconds=40))
    assert (await limiter.count(LIMIT, "ada")).allowed

    await limiter.client.aclose()
    limiter.client = limiter._script.registered_client = working
    limiter._breaker.record_success()
    limiter._breaker._retry_at = 0

    assert not (await limiter.count(LIMIT, "ada")).allowed


async def test_cost_is_of_the_work_and_not_of_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0
    monkeypatch.setattr(request_costs, "perf_counter", lambda: now)
    sent = asyncio.Event()

    def work(seconds: int) -> None:
        nonlocal now
        now += seconds

    def others() -> None:
        work(100)
        sent.set()

    async def serve(receive: Receive, send: Send) -> None:
        work(1)
        await receive()
        work(2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        work(4)
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})

    async def receive() -> Message:
        await sent.wait()
        return {"type": "http.request", "body": b"123"}

    async def send(message: Message) -> None:
        pass

    charged: list[RequestCost] = []
    asyncio.get_running_loop().call_soon(others)
    await serve_metered(serve, receive, send, charged.append)

    assert charged == [RequestCost(8, 3), RequestCost(0, 4)]


async def test_short_request_passes_the_long_ones_of_heavy_users() -> None:
    pacing = Pacing()
    events: list[str] = []

    def request(name: str, turns: int, seconds: float, pacing: Pacing | None) -> Coroutine[Any, Any, None]:
        async def serve(_: Receive, __: Send) -> None:
            for _turn in range(turns):
                await asyncio.sleep(0)
                time.sleep(seconds)  # noqa: ASYNC251  as encoding a large answer does
                events.append(name)

        async def receive() -> Message:
            raise AssertionError

        async def send(_: Message) -> None:
            raise AssertionError

        return serve_metered(serve, receive, send, lambda _: None, pacing)

    await asyncio.gather(*(request("long", 20, 0.01, pacing) for _ in range(10)), request("short", 20, 0, None))

    last_turn = len(events) - events[::-1].index("short")
    assert events[:last_turn].count("long") < 50  # and not all 200
    assert len(events) == 220


async def test_cancellation_in_a_pause_reaches_what_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pacing, "pause_after", lambda _, seconds: 3600 if seconds > 0.01 else 0)
    inner: asyncio.Task[None] | None = None

    async def serve(_: Receive, __: Send) -> None:
        nonlocal inner
        inner = asyncio.create_task(asyncio.sleep(3600))
        time.sleep(0.02)  # noqa: ASYNC251  the work that is paced
        await inner

    async def receive() -> Message:
        raise AssertionError

    async def send(_: Message) -> None:
        raise AssertionError

    request = asyncio.create_task(serve_metered(serve, receive, send, lambda _: None, Pacing()))
    await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request

    assert inner is not None
    assert inner.cancelled()


async def test_user_who_has_caused_a_tenth_of_the_permitted_work_is_heavy(limiter: RateLimiter) -> None:
    assert not (await limiter.count(LIMIT, "ada")).is_heavy
    limiter.charge(LIMIT, "ada", RequestCost(seconds=4))
    assert (await limiter.count(LIMIT, "ada")).is_heavy
    assert not (await limiter.count(LIMIT, "bob")).is_heavy


async def test_time_of_statements_is_charged(database_url: str) -> None:
    async def serve(_: Receive, __: Send) -> None:
        async with await DeadlineConnection.connect(database_url) as connection:
            await connection.execute("SELECT pg_sleep(0.05)")

    async def receive() -> Message:
        raise AssertionError

    async def send(_: Message) -> None:
        raise AssertionError

    charged: list[RequestCost] = []
    await serve_metered(serve, receive, send, charged.append)

    assert charged[0].seconds >= 0.05


@pytest.mark.parametrize("path", ["/threads", "/ask", "/documents", "/auth/token", "/auth/refresh", "/users"])
async def test_openapi_document_declares_the_limit(client4: httpx2.AsyncClient, path: str) -> None:
    document = (await client4.get("/openapi.json")).json()

    assert "429" in document["paths"][path]["post"]["responses"]
    assert document["paths"]["/health"]["get"]["responses"].keys() == {"200"}
