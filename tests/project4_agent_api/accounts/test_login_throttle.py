"""Attempts to sign in that count against an account, and the networks from which its owner is not locked out."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256

import httpx2
import psycopg
import pytest
from redis import Redis

from project2_user_mgmt import passwords
from project4_agent_api.core.attempt_limits import AttemptLimiter
from project4_agent_api.core.rate_limits import RateLimit
from shared.errors import TooManyRequests
from shared.redis.client import create_redis
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import PASSWORD, bearer, register, sign_in, try_to_sign_in
from tests.support.until import until

EMAIL = "ada@example.com"
LIMIT = RateLimit("failures", 3, 900, "sign_in_failures")
Break = Callable[[str], AbstractContextManager[None]]


@contextmanager
def read_only_database(database_url: str) -> Iterator[None]:
    """Make the database read-only while the block runs, as after a failover."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND pid <> %s"

        def restart(setting: str) -> None:
            connection.execute(f"ALTER DATABASE {name} {setting}")
            connection.execute(others, [name, connection.info.backend_pid])

        restart("SET default_transaction_read_only = on")
        connection.execute("SET default_transaction_read_only = off")
        try:
            yield
        finally:
            restart("RESET default_transaction_read_only")


@contextmanager
def locked_users(database_url: str) -> Iterator[None]:
    """Lock the users against key shares while the block runs, which a new sign-in needs."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT id FROM users FOR UPDATE")
        yield


@contextmanager
def failing_inserts(database_url: str) -> Iterator[None]:
    """Fail every insertion of a sign-in while the block runs, as on a full disk."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$"
        )
        connection.execute("CREATE TRIGGER fail BEFORE INSERT ON sign_ins EXECUTE FUNCTION fail()")
        try:
            yield
        finally:
            connection.execute("DROP TRIGGER fail ON sign_ins")
            connection.execute("DROP FUNCTION fail")


@contextmanager
def no_hashing(_: str) -> Iterator[None]:
    """Let every verification fail to run while the block runs, as in a process that shuts down."""

    def refuse(*_: object) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords._THREADS, "submit", refuse)
        yield


@pytest.mark.parametrize("broken", [read_only_database, locked_users, failing_inserts, no_hashing])
async def test_right_password_does_not_count_while_a_server_fails(
    serve4: Serve, database_url: str, broken: Break
) -> None:
    with serve4(sign_in_failures=3, db_statement_timeout_seconds=0.5) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            await register(client, EMAIL)
            with broken(database_url):
                refused = [(await try_to_sign_in(client, EMAIL)).status_code for _ in range(4)]

            assert {status // 100 for status in refused} == {5}
            async with asyncio.timeout(120):
                while (answer := await try_to_sign_in(client, EMAIL)).status_code >= 500:
                    pass  # the pool reconnects
            assert answer.status_code == 200


async def test_disconnected_client_does_not_count(serve4: Serve) -> None:
    with serve4(sign_in_failures=3) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            await register(client, EMAIL)
            busy, threads = threading.Event(), passwords._THREADS
            for _ in range(threads._max_workers):
                threads.submit(busy.wait)
            await until(lambda: threads._work_queue.qsize() == 0)
            try:
                tasks = [asyncio.create_task(try_to_sign_in(client, EMAIL)) for _ in range(3)]
                await until(lambda: threads._work_queue.qsize() == 3)
                for task in tasks:
                    task.cancel()
                refused = await try_to_sign_in(client, EMAIL)
            finally:
                busy.set()

            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")  # three are being checked
            async with asyncio.timeout(120):
                while (answer := await try_to_sign_in(client, EMAIL)).status_code == 429:
                    pass
            assert answer.status_code == 200


class _Redis:
    def __init__(self, redis_url: str) -> None:
        self.redis_url, self.redis_names = redis_url, "tests"


async def test_only_failures_count(redis_url: str) -> None:
    redis = create_redis(_Redis(redis_url))
    limiter, other = AttemptLimiter(redis), AttemptLimiter(redis)

    for error in (asyncio.CancelledError, TimeoutError, OSError):
        for _ in range(5):
            with pytest.raises(error):
                async with limiter.attempt(LIMIT, "ada"):
                    raise error
    for limiter_ in (limiter, other, limiter):
        async with limiter_.attempt(LIMIT, "ada") as attempt:
            attempt.correct = False
    with pytest.raises(TooManyRequests) as refused:
        async with other.attempt(LIMIT, "ada"):
            pass

    assert 890 < int((refused.value.headers or {})["Retry-After"]) <= 900
    await redis.aclose()


async def test_parallel_attempts_share_the_limit(redis_url: str) -> None:
    redis = create_redis(_Redis(redis_url))
    limiter, other = AttemptLimiter(redis), AttemptLimiter(redis)

    async with limiter.attempt(LIMIT, "ada"), other.attempt(LIMIT, "ada"), limiter.attempt(LIMIT, "ada") as last:
        with pytest.raises(TooManyRequests) as refused:
            async with other.attempt(LIMIT, "ada"):
                pass
        last.correct = True

    assert (refused.value.headers or {})["Retry-After"] == "1"
    async with other.attempt(LIMIT, "ada"):
        pass
    await redis.aclose()


async def test_reservation_of_a_dead_process_expires(redis_url: str) -> None:
    redis = create_redis(_Redis(redis_url))
    limiter = AttemptLimiter(redis)
    now, _ = await redis.time()
    reserved = redis.key("limit:failures:ada:reserved")
    await redis.zadd(reserved, {f"dead {number}": now - 61 for number in range(3)})

    async with limiter.attempt(LIMIT, "ada"):
        assert await redis.zcard(reserved) == 1

    assert await redis.zcard(reserved) == 0
    await redis.aclose()


@pytest.mark.parametrize("correct", [None, True, False])
async def test_redis_fails_during_the_check(full_redis_url: str, correct: bool | None) -> None:
    """A failure is then counted in the process, and nothing else is."""
    with Redis.from_url(full_redis_url) as server:
        server.config_set("maxmemory", 0)  # the server is this test's own
        redis = create_redis(_Redis(full_redis_url))
        limiter = AttemptLimiter(redis)
        for _ in range(3):
            async with limiter.attempt(LIMIT, "ada") as attempt:
                server.execute_command("ACL SETUSER default -evalsha -eval")
                attempt.correct = correct
            server.execute_command("ACL SETUSER default +evalsha +eval")
            limiter._breaker._retry_at = 0.0
        limiter._breaker.record_failure(OSError())  # Redis stays unavailable

        admitted = True
        try:
            async with limiter.attempt(LIMIT, "ada"):
                pass
        except TooManyRequests:
            admitted = False
        await redis.aclose()

    assert admitted == (correct is not False)


def from_(network: str) -> dict[str, str]:
    """Return the header with which a trusted proxy reports the client's address."""
    return {"X-Forwarded-For": network}


async def try_from(client: httpx2.AsyncClient, address: str, password: str = PASSWORD) -> int:
    form = {"username": EMAIL, "password": password}
    return (await client.post("/auth/token", data=form, headers=from_(address))).status_code


async def test_strangers_do_not_lock_the_owner_out(client4: httpx2.AsyncClient, redis_url: str) -> None:
    await register(client4, EMAIL)
    assert await try_from(client4, "192.0.2.1") == 200

    guesses = [await try_from(client4, f"198.51.100.{number}", "a guess") for number in range(12)]

    assert guesses == [401] * 10 + [429] * 2
    assert await try_from(client4, "192.0.2.1") == 200
    assert await try_from(client4, "203.0.113.7") == 429  # the right password, from an unknown network
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
    assert [await try_from(client4, "198.51.100.1", "a guess") for _ in range(11)] == [401] * 10 + [429]
    assert await try_from(client4, "192.0.2.1") == 200  # Redis does not know the networks


async def test_known_network_has_a_limit_of_its_own(client4: httpx2.AsyncClient) -> None:
    await register(client4, EMAIL)
    assert await try_from(client4, "192.0.2.1") == 200

    guesses = [await try_from(client4, "192.0.2.1", "a guess") for _ in range(11)]

    assert guesses == [401] * 10 + [429]
    assert await try_from(client4, "192.0.2.1") == 429
    assert await try_from(client4, "203.0.113.7") == 200  # which is known from now on
    assert await try_from(client4, "192.0.2.1") == 429  # a success elsewhere resets no count


async def test_success_in_a_known_network_does_not_reset_the_count_of_strangers(client4: httpx2.AsyncClient) -> None:
    await register(client4, EMAIL)
    assert await try_from(client4, "192.0.2.1") == 200

    guesses = []
    for number in range(11):
        guesses.append(await try_from(client4, "198.51.100.1", f"guess {number}"))
        assert await try_from(client4, "192.0.2.1") == 200

    assert guesses == [401] * 10 + [429]


async def test_networks_are_known_for_one_account_and_one_password(client4: httpx2.AsyncClient) -> None:
    for email in (EMAIL, "bob@example.com"):
        await register(client4, email)
    await sign_in(client4, "bob@example.com")
    assert await try_from(client4, "2001:db8::1") == 200
    thief = await client4.post(
        "/auth/token", data={"username": EMAIL, "password": PASSWORD}, headers=from_("203.0.113.7")
    )
    tokens = await sign_in(client4, EMAIL)
    change = {"password": "a new password", "old_password": PASSWORD}
    changed = await client4.patch("/auth/me", json=change, headers=bearer(tokens))
    assert (thief.status_code, changed.status_code) == (200, 200)

    assert [await try_from(client4, "198.51.100.1", "a guess") for _ in range(10)] == [401] * 10

    assert await try_from(client4, "127.0.0.1", "a new password") == 200  # the network that changed the password
    assert await try_from(client4, "203.0.113.7", PASSWORD) == 429
    assert await try_from(client4, "2001:db8::1", "a new password") == 429


async def test_addresses_of_one_ipv6_network_are_known_together(client4: httpx2.AsyncClient) -> None:
    await register(client4, EMAIL)
    assert await try_from(client4, "2001:db8::1") == 200
    assert [await try_from(client4, "198.51.100.1", "a guess") for _ in range(10)] == [401] * 10

    assert await try_from(client4, "2001:db8::ffff:2") == 200
    assert await try_from(client4, "2001:db8:0:1::1") == 429


async def test_known_networks_are_stored_as_keyed_hashes(
    client4: httpx2.AsyncClient, database_url: str, redis_url: str
) -> None:
    await register(client4, EMAIL)
    assert await try_from(client4, "192.0.2.1") == 200
    assert await try_from(client4, "192.0.2.1", "a guess") == 401

    with psycopg.connect(database_url) as connection:
        ((user_id, stored),) = connection.execute("SELECT user_id, network_hash FROM sign_ins").fetchall()
    with Redis.from_url(redis_url) as redis:
        keys = b" ".join(redis.keys("*limit:failures:*"))
    assert len(stored) == 64
    assert stored != sha256(f"network {user_id} 192.0.2.1".encode()).hexdigest()
    assert keys
    assert b"192.0.2.1" not in keys
