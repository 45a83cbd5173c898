"""Answers end early when they would be too large, and tell where the next one begins."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx2
import psycopg
import pytest
from langchain_core.messages import HumanMessage
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project2_user_mgmt.models import User
from project4_agent_api.core import bounded
from project4_agent_api.core.bounded import encode_list, encode_object, fetch_models
from project4_agent_api.core.serialization import EncodedJson, dumps
from project4_agent_api.settings import Settings
from shared.database.engine import create_engine
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import bearer, register, sign_in

TEXT = "x" * 40_000
NOTES = ["notes"]


@pytest.fixture
async def http(serve4: Serve, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    """A signed-in client of the API, whose answers have at most 100,000 bytes."""
    for function in (bounded.fetch_page, bounded.fetch_models):
        monkeypatch.setattr(function, "__defaults__", (100_000,))
    monkeypatch.setattr("project4_agent_api.threads.state.MAX_BYTES", 100_000)
    with serve4() as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            await register(http, "ada@example.com")
            http.headers.update(bearer(await sign_in(http, "ada@example.com")))
            yield http


async def pages(http: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> list[list[Any]]:
    """Return the pages of a search, each from where the one before said."""
    found: list[list[Any]] = []
    while True:
        answer = await http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        items = answer.json()
        found.append(items["items"] if isinstance(items, dict) else items)
        if "X-Pagination-Next" not in answer.headers:
            return found
        body = body | {"offset": int(answer.headers["X-Pagination-Next"])}


async def test_searches_are_bounded_by_bytes(http: httpx2.AsyncClient) -> None:
    for number in range(5):
        item = {"namespace": NOTES, "key": str(number), "value": {"text": TEXT}, "index": False}
        assert (await http.put("/store/items", json=item)).status_code == 204
        await http.post("/threads", json={"metadata": {"text": TEXT, "number": number}})
        await http.post("/assistants", json={"graph_id": "agent", "metadata": {"text": TEXT}, "name": str(number)})
        cron = {"assistant_id": "agent", "schedule": "@daily", "metadata": {"text": TEXT, "number": number}}
        await http.post("/runs/crons", json=cron)
    search = {"limit": 1000}

    items = await pages(http, "/store/items/search", search)
    threads = await pages(http, "/threads/search", search | {"extract": {"text": "metadata.text"}})
    assistants = await pages(http, "/assistants/search", search | {"metadata": {"text": TEXT}})
    crons = await pages(http, "/runs/crons/search", search)

    assert [[item["key"] for item in page] for page in items] == [["4", "3"], ["2", "1"], ["0"]]
    assert items[0][0]["value"] == {"text": TEXT}
    assert items[0][0]["namespace"] == NOTES
    assert [[thread["metadata"]["number"] for thread in page] for page in threads] == [[4, 3], [2, 1], [0]]
    assert threads[0][0]["extracted"] == {"text": TEXT}
    assert [[assistant["name"] for assistant in page] for page in assistants] == [["4", "3"], ["2", "1"], ["0"]]
    assert [cron["metadata"]["number"] for page in crons for cron in page] == [4, 3, 2, 1, 0]
    assert len(crons) > 1


async def test_lists_of_runs_are_bounded_by_bytes(http: httpx2.AsyncClient) -> None:
    path = f"/threads/{(await http.post('/threads', json={})).json()['thread_id']}/runs"
    for number in range(5):
        run = {"assistant_id": "agent", "input": {"text": TEXT}, "metadata": {"number": number}}
        assert (await http.post(path, json=run)).status_code == 200

    first = await http.get(path, params={"limit": 1000})
    second = await http.get(path, params={"limit": 1000, "offset": first.headers["X-Pagination-Next"]})
    last = await http.get(path, params={"limit": 1000, "offset": second.headers["X-Pagination-Next"]})

    found = [[run["metadata"]["number"] for run in answer.json()] for answer in (first, second, last)]
    assert found == [[4, 3], [2, 1], [0]]
    assert "X-Pagination-Next" not in last.headers


async def test_histories_are_bounded_by_bytes(http: httpx2.AsyncClient) -> None:
    values = [{"messages": [{"role": "user", "content": f"{number}{TEXT}"}]} for number in range(3)]
    steps = [{"updates": [{"values": each, "as_node": "__start__"}]} for each in values]
    body = {"metadata": {"graph_id": "agent"}, "supersteps": steps}
    path = f"/threads/{(await http.post('/threads', json=body)).json()['thread_id']}/history"
    whole = {state["checkpoint_id"] for state in (await http.get(path, params={"limit": 1})).json()}

    before: dict[str, int | str] = {"limit": 1000}
    counts = []
    while True:
        answer = await http.get(path, params=before)
        counts.append(len(answer.json()))
        whole |= {state["checkpoint_id"] for state in answer.json()}
        if "X-Pagination-Next" not in answer.headers:
            break
        before = {"limit": 1000, "before": answer.headers["X-Pagination-Next"]}

    assert sum(counts) == len(whole) == 3
    assert len(counts) > 1


async def test_page_of_models_is_of_one_moment(
    make_settings4: Callable[..., Settings], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine(make_settings4())
    query = select(User).order_by(col(User.id).desc())
    with psycopg.connect(database_url, autocommit=True) as connection:

        def add(amount: int) -> None:
            connection.execute(
                "INSERT INTO users (id, email, name, password_hash, version, created_at, updated_at)"
                " SELECT gen_random_uuid(), gen_random_uuid()::text, '', '', 1, now(), now()"
                " FROM generate_series(1, %s)",
                [amount],
            )

        add(50)
        async with AsyncSession(engine) as session:
            before = list(await session.scalars(select(col(User.id)).order_by(col(User.id).desc())))
            read = session.scalars

            async def read_while_others_write(*arguments: Any) -> Any:  # noqa: ANN401  as SQLAlchemy's method
                found = await read(*arguments)
                add(50)
                return found

            monkeypatch.setattr(session, "scalars", read_while_others_write)
            page = await fetch_models(session, query, 50, 0)
            assert [user.id for user in page] == before
        async with engine.connect() as restored:
            driver: Any = (await restored.get_raw_connection()).driver_connection
            assert driver.autocommit
    await engine.dispose()


async def test_json_with_too_many_values_is_refused(http: httpx2.AsyncClient) -> None:
    refused = await http.post("/threads", json={"metadata": {"lists": [[] for _ in range(100_001)]}})

    assert refused.status_code == 422
    assert "must not have more than 100,000 values and keys" in refused.json()["detail"]


async def turns_during(encoding: Coroutine[Any, Any, bytes]) -> tuple[bytes, int]:
    """Return the encoded JSON, and how often another task had its turn meanwhile."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    encoded = await encoding
    counting.cancel()
    return encoded, turns


async def test_large_lists_are_encoded_with_pauses() -> None:
    rows = ({"value": EncodedJson(b'{"a":1}'), "text": TEXT} for _ in range(100))
    encoded, turns = await turns_during(encode_list(rows))

    assert encoded.startswith(b'[{"value":{"a":1},"text":"xxx')
    assert turns > 10


async def test_large_states_are_encoded_with_pauses() -> None:
    messages = [HumanMessage(TEXT, id=str(number)) for number in range(100)]
    state = {"values": {"messages": messages, "n": 2**70, 'a"\ud800': {"\0": []}}, "next": (), "tasks": [], "none": {}}
    encoded, turns = await turns_during(encode_object(state))

    assert encoded == dumps(state)
    assert turns > 10


def test_encoded_json_is_inserted_at_any_depth() -> None:
    assert (
        dumps([{"a": {"b": EncodedJson(b'{"c":1}')}, "n": 2**70}])
        == b'[{"a":{"b":{"c":1}},"n":1180591620717411303424}]'
    )
