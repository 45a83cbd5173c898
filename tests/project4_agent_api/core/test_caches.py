"""Caches of searches and answers: per owner, invalidated by changes, and never wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing

import httpx2
import pytest
from redis import Redis

from project4_agent_api.settings import Settings
from project4_agent_api.worker import create_worker
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import bearer, register, sign_in
from tests.support.document_answers import ask, ask_stream
from tests.support.documents import found, ready
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel, hangs
from tests.support.until import until

OPENS = "The library opens at nine. It closes at six."
WHEN = "When does the library open?"
NOTHING_SAID = "The documents do not say."


class Users:
    """Makes users, each with clients of two API processes; a worker reads their documents."""

    def __init__(self, serve: Serve, stack: AsyncExitStack, **settings: object) -> None:
        self.urls = [stack.enter_context(serve(**settings)) for _ in range(2)]
        self._stack = stack

    async def sign_up(self, email: str) -> list[httpx2.AsyncClient]:
        clients = [
            await self._stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False))
            for url in self.urls
        ]
        await register(clients[0], email)
        for client in clients:
            client.headers.update(bearer(await sign_in(clients[0], email)))
        return clients


@pytest.fixture
async def users(serve4: Serve, make_settings4: Callable[..., Settings]) -> AsyncIterator[Users]:
    async with AsyncExitStack() as stack:
        stack.enter_context(running(create_worker(make_settings4())))
        yield Users(serve4, stack)


async def test_answer_is_cached_per_user_for_all_routes(users: Users, model: ScriptedModel) -> None:
    (ada, adas), (bob, _) = await users.sign_up("ada@example.com"), await users.sign_up("bob@example.com")
    for one in (ada, bob):
        await ready(one, OPENS)
    model.says("At nine [1].", tokens_per_second=200)

    first, again = await ask(ada, WHEN), await ask(adas, WHEN)
    streamed = await ask_stream(adas, WHEN)

    assert len(model.requests) == 1
    assert again | {"latency_ms": 0} == first | {"latency_ms": 0}
    assert [name for name, _ in streamed] == ["sources", "token", "done"]
    (_, sources), (_, token), (_, done) = streamed
    assert sources["sources"][0]["text"] == OPENS
    assert token["text"] == first["answer"]
    assert done["citations"] == first["citations"]

    bobs = await ask(bob, WHEN)
    assert len(model.requests) == 2
    assert bobs["id"] != first["id"]
    assert bobs["citations"][0]["document_id"] != first["citations"][0]["document_id"]
    await ask(ada, WHEN, k=1)
    assert len(model.requests) == 3


async def test_document_changes_invalidate_the_cache(users: Users, model: ScriptedModel) -> None:
    ada, there = await users.sign_up("ada@example.com")
    document = await ready(ada, OPENS)
    model.says("At nine [1].")
    assert (await ask(ada, WHEN))["answer"] == "At nine [1]."
    assert [hit["document_id"] for hit in await found(there, WHEN)] == [document["id"]]

    other = await ready(ada, "The library has a new door.", "door.txt")
    assert {hit["document_id"] for hit in await found(there, WHEN)} == {document["id"], other["id"]}

    for one in (document, other):
        assert (await ada.delete(f"/documents/{one['id']}")).status_code == 204
        assert one["id"] not in {hit["document_id"] for hit in await found(there, WHEN)}
    assert (await ask(there, WHEN))["answer"] == NOTHING_SAID
    again = await ready(ada, OPENS)
    assert [hit["document_id"] for hit in await found(there, WHEN)] == [again["id"]]


async def test_changed_labels_invalidate_the_cache(users: Users, model: ScriptedModel) -> None:
    ada, there = await users.sign_up("ada@example.com")
    document = await ready(ada, OPENS)
    path = f"/documents/{document['id']}"
    model.says("At nine [1].")
    tagged = {"filter": {"tags": ["library"]}}
    assert (await ask(ada, WHEN))["citations"][0]["filename"] == "hours.txt"
    assert await found(there, WHEN, **tagged) == []

    assert (await ada.patch(path, json={"filename": "new.txt", "tags": ["library"]})).status_code == 200

    assert (await ask(there, WHEN))["citations"][0]["filename"] == "new.txt"
    assert [hit["filename"] for hit in await found(there, WHEN, **tagged)] == ["new.txt"]
    (bob, _) = await users.sign_up("bob@example.com")
    assert (await bob.patch(path, json={"filename": "bobs.txt"})).status_code == 404
    chunk = (await ada.get(f"{path}/chunks")).json()["items"][0]["id"]
    assert (await ada.get(f"{path}/chunks/{chunk}/neighbours")).status_code == 200
    assert (await bob.get(f"{path}/chunks/{chunk}/neighbours")).status_code == 404


async def test_deleted_documents_are_never_served_from_the_cache(users: Users, model: ScriptedModel) -> None:
    ada, there = await users.sign_up("ada@example.com")
    model.says("At nine [1].", tokens_per_second=100)
    for i in range(3):
        document = await ready(ada, f"{OPENS} In the year {i}.")
        gone = asyncio.Event()

        async def keep_asking(client: httpx2.AsyncClient, gone: asyncio.Event = gone) -> list[str]:
            late: list[str] = []
            while len(late) < 2:
                asked_late = gone.is_set()
                answer = await ask(client, WHEN)
                late += [answer["answer"]] if asked_late else []
            return late

        asking = [asyncio.create_task(keep_asking(client)) for client in (ada, there) * 2]
        assert (await ask(there, WHEN))["citations"] != []
        assert (await ada.delete(f"/documents/{document['id']}")).status_code == 204
        gone.set()

        assert await asyncio.gather(*asking) == [[NOTHING_SAID] * 2] * 4


async def test_concurrent_misses_call_the_model_once(users: Users, model: ScriptedModel) -> None:
    ada, _ = await users.sign_up("ada@example.com")
    await ready(ada, OPENS)
    await found(ada, "unrelated")  # the first search embeds its baselines
    model.embedded.clear()
    model.says("At nine [1].", tokens_per_second=50)

    answers = await asyncio.gather(*(ask(ada, WHEN) for _ in range(10)))

    assert len({answer["id"] for answer in answers}) == len(model.requests) == len(model.embedded) == 1


async def test_disconnected_leader_is_replaced(users: Users, model: ScriptedModel) -> None:
    ada, _ = await users.sign_up("ada@example.com")
    await ready(ada, OPENS)
    model.says("At nine [1].")
    model.then(hangs())
    leaving = asyncio.create_task(ada.post("/documents/ask", json={"question": WHEN}))
    await until(lambda: len(model.requests) == 1)
    others = [asyncio.create_task(ask(ada, WHEN)) for _ in range(3)]

    leaving.cancel()

    assert {(await other)["answer"] for other in others} == {"At nine [1]."}
    assert model.requests[0].cancelled
    assert len(model.requests) == 2


async def test_failed_leader_is_replaced(users: Users, model: ScriptedModel) -> None:
    ada, _ = await users.sign_up("ada@example.com")
    await ready(ada, OPENS)
    model.says("At nine [1].")
    model.resets_after(0)

    answers = await asyncio.gather(*(ada.post("/documents/ask", json={"question": WHEN}) for _ in range(3)))

    assert [answer.status_code for answer in answers] == [503] * 3
    model.says("At nine [1].")
    assert (await ask(ada, WHEN))["answer"] == "At nine [1]."


async def test_unreadable_entry_is_a_miss(users: Users, model: ScriptedModel, redis_url: str) -> None:
    ada, _ = await users.sign_up("ada@example.com")
    await ready(ada, OPENS)
    model.says("At nine [1].")
    first = await ask(ada, WHEN)
    with closing(Redis.from_url(redis_url)) as redis:
        for key in redis.keys("*:cache:*"):
            assert 0 < redis.ttl(key) <= 86400
            redis.set(key, b'{"sources": 1}')

    second = await ask(ada, WHEN)

    assert (second["answer"], len(model.requests)) == (first["answer"], 2)
    assert (await ask(ada, WHEN))["id"] == second["id"]


@pytest.mark.parametrize("settings", [{"cache_enabled": False}, {"redis_url": "redis://127.0.0.1:1"}], ids=str)
async def test_disabled_cache_calls_the_model_each_time(
    serve4: Serve, make_settings4: Callable[..., Settings], model: ScriptedModel, settings: dict[str, object]
) -> None:
    model.says("At nine [1].")
    async with AsyncExitStack() as stack:
        stack.enter_context(running(create_worker(make_settings4())))
        ada, _ = await Users(serve4, stack, **settings).sign_up("ada@example.com")
        await ready(ada, OPENS)

        assert [(await ask(ada, WHEN))["answer"] for _ in range(2)] == ["At nine [1]."] * 2

    assert len(model.requests) == 2
