"""The store: what LangGraph's own client says to it, and what a graph does."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore, GetOp, PutOp
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import SearchItemsResponse
from typing_extensions import TypedDict

from project3_rag_docs.search.embedding import create_embedding_model
from project4_agent_api.core.postgres import create_pool
from project4_agent_api.settings import Settings
from project4_agent_api.store.reindex import reindex_store
from project4_agent_api.store.service import SharedStore
from project4_agent_api.store.vectors import check_store
from shared.errors import ConfigurationError, InvalidRequest, ModelUnavailable, NotReady
from shared.models.client import create_http_client
from tests.support.agent_parts import ALICE, BOB, client_of, create_parts
from tests.support.running import running
from tests.support.scripted_model import Connection, ScriptedModel, embeds, fails, until_released
from tests.support.until import until

MakeSettings = Callable[..., Settings]


@pytest.fixture
def parts(make_settings4: MakeSettings) -> FastAPI:
    return create_parts(make_settings4(embedding_model="multilingual-e5-small", llm_timeout_seconds=5))


@pytest.fixture
async def shared(make_settings4: MakeSettings) -> AsyncIterator[SharedStore]:
    settings = make_settings4()
    async with create_http_client(settings) as http, create_pool(settings) as pool:
        yield SharedStore(pool, settings, create_embedding_model(settings, http))


def keys(found: SearchItemsResponse) -> list[str]:
    return [item["key"] for item in found["items"]]


async def test_item_is_put_returned_and_deleted(alice: LangGraphClient) -> None:
    place = ["memories", "kitchen"]
    await alice.store.put_item(place, "k", {"text": "Tea at five", "n": 1})
    item = await alice.store.get_item(place, "k")
    assert (item["namespace"], item["key"], item["value"]) == (place, "k", {"text": "Tea at five", "n": 1})
    assert item["created_at"] == item["updated_at"]

    await alice.store.put_item(place, "k", {"text": "Tea at six"})
    again = await alice.store.get_item(place, "k")
    assert again["value"] == {"text": "Tea at six"}
    assert again["created_at"] == item["created_at"] < again["updated_at"]

    await alice.store.delete_item(place, "k")
    await alice.store.delete_item(place, "k")
    nothing: object = await alice.store.get_item(place, "k")
    assert nothing is None


async def test_items_are_found_below_a_namespace(alice: LangGraphClient) -> None:
    for place, key in ((["a"], "1"), (["a", "b"], "2"), (["ab"], "3"), (["a_b"], "4"), (["aXb"], "5"), (["A"], "6")):
        await alice.store.put_item(place, key, {"n": int(key)}, index=False)

    assert keys(await alice.store.search_items(["a"])) == ["2", "1"]
    assert keys(await alice.store.search_items(["a_b"])) == ["4"]
    assert keys(await alice.store.search_items([])) == ["6", "5", "4", "3", "2", "1"]
    assert keys(await alice.store.search_items([], limit=2, offset=1)) == ["5", "4"]
    assert keys(await alice.store.search_items(["nowhere"])) == []


ITEMS: dict[str, dict[str, Any]] = {
    "five": {"n": 5, "s": "b", "d": {"x": 1, "y": {"z": [1, 2]}}, "t": True},
    "forty": {"n": 40, "s": "a", "d": {"x": 2}, "t": False},
    "text": {"n": "9", "s": None},
    "half": {"n": 0.5},
}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"n": 5}, {"five"}),
        ({"n": {"$eq": 5}}, {"five"}),
        ({"n": {"$ne": 5}}, {"forty", "text", "half"}),
        ({"n": {"$gt": 5}}, {"forty"}),  # as numbers: as texts, 40 is less than 5, and 9 is more
        ({"n": {"$gte": 5, "$lt": 40}}, {"five"}),
        ({"n": {"$lte": 0.5}}, {"half"}),
        ({"n": {"$gt": "8"}}, {"text"}),
        ({"s": {"$gte": "b"}}, {"five"}),
        ({"s": None}, {"text", "half"}),
        ({"missing": {"$gt": 1}}, set()),
        ({"missing": {"$ne": 1}}, set(ITEMS)),
        ({"d": {"x": 1}}, {"five"}),
        ({"d": {"x": {"$gt": 1}}}, {"forty"}),
        ({"d": {"y": {"z": [1, 2]}}}, {"five"}),
        ({"d": {"y": {"z": [1]}}}, set()),
        ({"d": {}}, {"five", "forty"}),
        ({"t": True, "n": 5}, {"five"}),
        ({"t": 1}, set()),
        ({"'; DROP TABLE store; --": "%s"}, set()),
        ({}, set(ITEMS)),
    ],
)
async def test_items_are_filtered(shared: SharedStore, wanted: dict[str, Any], found: set[str]) -> None:
    store = shared.for_owner(ALICE)
    await store.abatch([PutOp(("items",), key, value, index=False) for key, value in ITEMS.items()])

    assert {item.key for item in await store.asearch(("items",), filter=wanted)} == found


async def test_items_are_found_by_meaning(alice: LangGraphClient, model: ScriptedModel) -> None:
    place = ["memories"]
    await alice.store.put_item(place, "tea", {"text": "likes green tea in the morning"}, index=["text"])
    await alice.store.put_item(place, "cat", {"text": "has a cat called Minka", "kind": "pet"}, index=["text"])
    await alice.store.put_item(place, "hidden", {"text": "green tea, a secret"}, index=False)

    found = await alice.store.search_items(place, query="green tea")

    assert keys(found) == ["tea", "cat"]
    scores = [item["score"] or 0 for item in found["items"]]
    assert 1 >= scores[0] > scores[1]
    assert keys(await alice.store.search_items(place, query="green tea", filter={"kind": "pet"})) == ["cat"]
    assert keys(await alice.store.search_items(place, query="green tea", limit=1, offset=1)) == ["cat"]
    assert [item["score"] for item in (await alice.store.search_items(place, limit=1))["items"]] == [None]
    sent = [text for seen in model.embedded for text in seen.body["input"]]
    assert sent[:2] == ["passage: likes green tea in the morning", "passage: has a cat called Minka"]
    assert sent[2] == "query: green tea"


async def test_semantic_search_is_paginated(shared: SharedStore) -> None:
    store = shared.for_owner(ALICE)
    puts = [PutOp(("m",), f"{n:02}", {"t": ["tea " + "x" * n] * 3}, index=["t[*]"]) for n in range(40)]
    await store.abatch(puts)

    pages = [await store.asearch(("m",), query="tea", limit=10, offset=10 * page) for page in range(5)]

    assert [len(page) for page in pages] == [10, 10, 10, 10, 0]
    assert len({item.key for page in pages for item in page}) == 40


async def test_updated_item_is_not_found_by_its_old_text(shared: SharedStore) -> None:
    store = shared.for_owner(ALICE)
    await store.aput(("m",), "k", {"t": ["tea", "coffee"]}, index=["t[*]"])
    assert len(await store.asearch(("m",), query="coffee")) == 1

    await store.aput(("m",), "k", {"t": ["tea"]}, index=["t[*]"])
    (item,) = await store.asearch(("m",), query="coffee")
    assert item.score is not None
    assert item.score < 0.9
    await store.aput(("m",), "k", {"t": ["tea"]}, index=False)
    assert await store.asearch(("m",), query="coffee") == []


@pytest.mark.parametrize("value", ["a profile in words", ["a", 1], 5, False])
async def test_graph_stores_any_json(shared: SharedStore, alice: LangGraphClient, value: Any) -> None:  # noqa: ANN401  any JSON
    store = shared.for_owner(ALICE)
    await store.aput(("m",), "k", value)

    (found,) = await store.asearch(("m",), query="a profile")
    kept = await store.aget(("m",), "k")

    assert kept
    read: Any = await alice.store.get_item(["m"], "k")
    assert (kept.value, found.value, read["value"]) == (value, value, value)


async def test_whole_item_is_indexed_by_default(shared: SharedStore, model: ScriptedModel) -> None:
    await shared.for_owner(ALICE).aput(("m",), "k", {"b": "é", "a": 1})
    await shared.for_owner(ALICE).aput(("m",), "long", {"a": "x" * 100_000})

    assert model.embedded[0].body["input"] == ['{"a": 1, "b": "é"}']
    assert len(model.embedded[1].body["input"][0]) == 8000


async def test_namespaces_are_listed(alice: LangGraphClient, bob: LangGraphClient) -> None:
    for place in (["a"], ["a", "b"], ["a", "b", "c"], ["b"], ["x", "b"], ["a", "x", "c"]):
        await alice.store.put_item(place, "k", {}, index=False)
    await bob.store.put_item(["b", "secret"], "k", {}, index=False)

    async def listed(**by: Any) -> list[Any]:
        answer: Any = await alice.store.list_namespaces(**by)
        return sorted(answer["namespaces"])

    assert await listed() == [["a"], ["a", "b"], ["a", "b", "c"], ["a", "x", "c"], ["b"], ["x", "b"]]
    assert await listed(prefix=["a"]) == [["a"], ["a", "b"], ["a", "b", "c"], ["a", "x", "c"]]
    assert await listed(suffix=["b"]) == [["a", "b"], ["b"], ["x", "b"]]
    assert await listed(suffix=["*", "b"]) == [["a", "b"], ["x", "b"]]  # not ["b"]: its owner is no label
    assert await listed(prefix=["*", "b"]) == [["a", "b"], ["a", "b", "c"], ["x", "b"]]
    assert await listed(prefix=["a"], suffix=["c"]) == [["a", "b", "c"], ["a", "x", "c"]]
    assert await listed(max_depth=1) == [["a"], ["b"], ["x"]]
    assert await listed(limit=2, offset=1) == [["a", "b"], ["a", "b", "c"]]
    assert await listed(prefix=["nowhere"]) == []


async def test_items_are_private_to_their_owner(alice: LangGraphClient, bob: LangGraphClient) -> None:
    place = ["memories"]
    await alice.store.put_item(place, "k", {"text": "the code is 1234"})
    await bob.store.put_item(place, "mine", {"text": "nothing"})

    assert await bob.store.get_item(place, "k") is None
    for found in (
        await bob.store.search_items([]),
        await bob.store.search_items(place, query="the code"),
        await bob.store.search_items([str(ALICE)]),
        await bob.store.search_items(["*"]),
    ):
        assert "k" not in keys(found)
    await bob.store.delete_item(place, "k")
    await bob.store.delete_item([str(ALICE), *place], "k")
    await bob.store.put_item(place, "k", {"text": "bob's"}, index=False)
    assert (await alice.store.get_item(place, "k"))["value"] == {"text": "the code is 1234"}


async def test_items_expire(alice: LangGraphClient, database_url: str) -> None:
    place = ["m"]
    await alice.store.put_item(place, "k", {"t": "tea"}, ttl=0.5)  # type: ignore[arg-type]  # the API takes parts
    await alice.store.put_item(place, "for ever", {"t": "tea"})
    with psycopg.connect(database_url, autocommit=True) as connection:

        def left() -> float:
            row = connection.execute(
                "SELECT extract(epoch FROM expires_at - now())::float8 FROM store WHERE key = 'k'"
            ).fetchone()
            assert row is not None
            return float(row[0])

        connection.execute("UPDATE store SET expires_at = expires_at - interval '20 seconds'")
        assert left() < 11
        await alice.store.get_item(place, "k", refresh_ttl=False)
        await alice.store.search_items(place, refresh_ttl=False)
        assert left() < 11
        await alice.store.get_item(place, "k")  # reading it lets it live on
        assert 20 < left() < 31
        connection.execute("UPDATE store SET expires_at = expires_at - interval '20 seconds'")
        await alice.store.search_items(place, query="tea")
        assert 20 < left() < 31

        connection.execute("UPDATE store SET expires_at = now() - interval '1 second' WHERE key = 'k'")
    assert await alice.store.get_item(place, "k") is None
    assert keys(await alice.store.search_items(place)) == ["for ever"]
    assert keys(await alice.store.search_items(place, query="tea")) == ["for ever"]
    await alice.store.delete_item(place, "for ever")
    assert (await alice.store.list_namespaces())["namespaces"] == []


async def test_only_semantic_operations_need_the_model(alice_http: httpx2.AsyncClient, model: ScriptedModel) -> None:
    model.embeds(fails(500))
    item = {"namespace": ["m"], "key": "k", "value": {"t": "tea"}}

    refused = await alice_http.put("/store/items", json=item)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:problem:model-unavailable")
    assert refused.headers["retry-after"]
    assert (await alice_http.get("/store/items?namespace=m&key=k")).json() is None
    assert (await alice_http.put("/store/items", json=item | {"index": False})).status_code == 204
    assert (await alice_http.post("/store/items/search", json={"namespace_prefix": ["m"]})).status_code == 200
    asked = await alice_http.post("/store/items/search", json={"namespace_prefix": ["m"], "query": "tea"})
    assert asked.status_code == 503


async def test_slow_model_does_not_block_others(shared: SharedStore, model: ScriptedModel) -> None:
    store = shared.for_owner(ALICE)
    release = threading.Event()
    model.embeds(until_released(release, embeds()))
    slow = [asyncio.create_task(store.aput(("m",), str(n), {"t": "tea"})) for n in range(20)]  # more than connections
    await until(lambda: len(model.embedded) == 20)

    await asyncio.gather(*(shared.for_owner(BOB).aput(("m",), str(n), {}, index=False) for n in range(20)))

    assert not any(task.done() for task in slow)
    release.set()
    await asyncio.gather(*slow)
    assert len(await store.asearch(("m",), limit=50)) == 20


async def test_concurrent_puts_leave_one_whole_item(shared: SharedStore) -> None:
    store = shared.for_owner(ALICE)

    await asyncio.gather(
        *(
            store.abatch([PutOp(("m",), key, {"t": [f"{n}"] * (n + 1)}, index=["t[*]"]) for key in order])
            for n, order in enumerate(["ab", "ba"] * 5)
        )
    )

    for key in "ab":
        item = await store.aget(("m",), key)
        assert item is not None
        found = await store.asearch(("m",), query=item.value["t"][0])
        assert any(one.key == key and one.score is not None and one.score > 0.99 for one in found)


class Note(TypedDict, total=False):
    text: str
    found: list[str]


async def test_graph_memory_belongs_to_the_runs_owner(shared: SharedStore) -> None:
    async def remember(state: Note, *, store: BaseStore) -> Note:
        await store.aput(("notes",), state["text"], {"text": state["text"]})
        return {"found": [item.key for item in await store.asearch(("notes",), query=state["text"])]}

    def recall(_: Note, *, store: BaseStore) -> Note:  # not `async`: in a thread
        return {"found": [item.key for item in store.search(("notes",))]}

    sequence: list[Any] = [("remember", remember), ("recall", recall)]
    graph = StateGraph(Note).add_sequence(sequence).add_edge(START, "remember")

    answers = [
        await graph.compile(store=shared.for_owner(owner)).ainvoke({"text": text})
        for owner, text in ((ALICE, "tea"), (BOB, "coffee"), (ALICE, "cake"))
    ]

    assert [answer["found"] for answer in answers] == [["tea"], ["coffee"], ["cake", "tea"]]


async def test_sync_call_on_the_event_loop_is_refused(shared: SharedStore) -> None:
    with pytest.raises(asyncio.InvalidStateError):
        shared.for_owner(ALICE).get(("m",), "k")


async def test_batch_reads_precede_its_writes(shared: SharedStore) -> None:
    store = shared.for_owner(ALICE)
    results = await store.abatch([PutOp(("m",), "k", {"n": 1}, index=False), GetOp(("m",), "k")])
    assert results == [None, None]


async def test_too_much_indexed_text_is_rejected(shared: SharedStore, model: ScriptedModel) -> None:
    with pytest.raises(InvalidRequest):
        await shared.for_owner(ALICE).aput(("m",), "k", {"t": ["tea"] * 101}, index=["t[*]"])
    with pytest.raises(InvalidRequest):  # each of them would be a text of its own
        await shared.for_owner(ALICE).aput(("m",), "k", {"t": ["tea"] * 50}, index=["{t,t,t,t,t,t,t}"] * 3)
    with pytest.raises(InvalidRequest):
        await shared.for_owner(ALICE).asearch(("m",), filter={str(n): n for n in range(101)})
    assert model.embedded == []


async def test_vectors_of_another_length_require_an_empty_table(
    make_settings4: MakeSettings, model: ScriptedModel
) -> None:
    wide = make_settings4(embedding_dimensions=512)
    await check_store(wide)
    await check_store(wide)
    model.embeds(embeds(512))
    async with create_http_client(wide) as http, create_pool(wide) as pool:
        await (
            SharedStore(pool, wide, create_embedding_model(wide, http)).for_owner(ALICE).aput(("m",), "k", {"t": "tea"})
        )

    for other in (make_settings4(), make_settings4(embedding_dimensions=512, embedding_model="another's")):
        with pytest.raises(ConfigurationError, match=r"embedded by e \(halfvec\(512\)\)"):
            await check_store(other)
    await check_store(wide)


async def test_items_are_reindexed_with_another_model(make_settings4: MakeSettings, model: ScriptedModel) -> None:
    old, new = make_settings4(), make_settings4(embedding_dimensions=512, embedding_model="multilingual-e5-new")
    async with create_http_client(old) as http, create_pool(old) as pool, pool.connection() as connection:
        before = SharedStore(pool, old, create_embedding_model(old, http))
        store = before.for_owner(ALICE)
        await store.aput(("m",), "whole", {"text": "green tea"})
        await store.aput(("m",), "two", {"t": ["coffee", "cake"], "n": {"0": "milk"}}, index=["t[*]", "n.0", "t[1]"])
        await store.aput(("m",), "none", {"text": "tea"}, index=False)
        for number in range(40):
            await before.for_owner(BOB).aput(("m",), str(number), {"text": f"note {number}"})
        model.embeds(embeds(512))
        model.embedded.clear()
        embeddings = create_embedding_model(new, http)

        assert await reindex_store(connection, new, embeddings) == 45
        assert await reindex_store(connection, new, embeddings) == 0

        texts = {text for seen in model.embedded for text in seen.body["input"]}
        hers = {'passage: {"text": "green tea"}', *(f"passage: {one}" for one in ("coffee", "cake", "milk"))}
        assert texts == hers | {f'passage: {{"text": "note {number}"}}' for number in range(40)}
        await check_store(new)
        model.embeds(embeds())
        with pytest.raises(NotReady):  # one that was not started again
            await before.for_owner(ALICE).asearch(("m",), query="tea")
        model.embeds(embeds(512))
        found = await SharedStore(pool, new, embeddings).for_owner(ALICE).asearch(("m",), query="cake")
        assert [item.key for item in found] == ["two", "whole"]


async def test_reindexing_with_a_failing_model_changes_nothing(
    make_settings4: MakeSettings, model: ScriptedModel
) -> None:
    old, new = make_settings4(), make_settings4(embedding_dimensions=512, embedding_batch_size=1)
    async with create_http_client(old) as http, create_pool(old) as pool, pool.connection() as connection:
        store = SharedStore(pool, old, create_embedding_model(old, http)).for_owner(ALICE)
        for number in range(3):
            await store.aput(("m",), str(number), {"text": f"note {number}"})
        calls = iter([embeds(512), fails(500), *[embeds(512)] * 2])

        async def one_after_the_other(connection: Connection) -> None:
            await next(calls)(connection)

        model.embeds(one_after_the_other)
        with pytest.raises(ModelUnavailable):
            await reindex_store(connection, new, create_embedding_model(new, http))
        await check_store(old)
        assert await reindex_store(connection, new, create_embedding_model(new, http)) == 2  # the first was kept


async def test_service_starts_without_the_database(make_settings4: MakeSettings) -> None:
    await check_store(make_settings4(database_url="postgresql://nobody@127.0.0.1:1/none"))


async def test_unavailable_database_is_503(make_settings4: MakeSettings) -> None:
    settings = make_settings4(database_url="postgresql://nobody@127.0.0.1:1/none", db_pool_timeout_seconds=1)
    with running(create_parts(settings)) as url:
        async with client_of(url, ALICE) as http:
            answer = await http.get("/store/items?namespace=m&key=k")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:problem:database-unavailable")


ITEM: dict[str, Any] = {"namespace": ["m"], "key": "k", "value": {}}
BAD: list[tuple[str, str, dict[str, Any]]] = [
    *(
        ("PUT", "/store/items", ITEM | wrong)
        for wrong in list[dict[str, Any]](
            (
                {"namespace": []},
                {"namespace": ["a.b"]},
                {"namespace": [""]},
                {"namespace": ["a\0"]},
                {"namespace": ["\ud800"]},
                {"namespace": ["langgraph"]},
                {"namespace": ["x" * 600, "y" * 600]},
                {"namespace": "m"},
                {"key": ""},
                {"key": "a\0"},
                {"key": "é" * 501},
                {"value": [1]},
                {"value": {"a": "x\0"}},
                {"value": {"a": "\udfff"}},
                {"value": {"a": float("nan")}},
                {"value": {"a": [2**64]}},
                {"index": True},
                {"index": ["x" * 251]},
                {"index": ["x"] * 21},
                {"ttl": 0},
                {"ttl": 1e-309},
                {"ttl": -1},
                {"ttl": 1e300},
            )
        )
    ),
    ("DELETE", "/store/items", {"key": "k"}),
    ("POST", "/store/items/search", {"namespace_prefix": ["a."]}),
    ("POST", "/store/items/search", {"filter": {"a": {"$regex": ".*"}}}),
    ("POST", "/store/items/search", {"filter": {"a": {"$gt": 1, "b": 2}}}),
    ("POST", "/store/items/search", {"filter": {"a": {"$gt": [1]}}}),
    ("POST", "/store/items/search", {"filter": {"a": {"$gt": True}}}),
    ("POST", "/store/items/search", {"filter": {"a\0": 1}}),
    ("POST", "/store/items/search", {"limit": 0}),
    ("POST", "/store/items/search", {"offset": -1}),
    ("POST", "/store/items/search", {"offset": 2**70}),
    ("POST", "/store/namespaces", {"max_depth": 0}),
    ("POST", "/store/namespaces", {"prefix": [""]}),
    ("POST", "/store/namespaces", {"suffix": ["*"] * 101}),
]


async def test_invalid_requests_are_rejected(alice_http: httpx2.AsyncClient) -> None:
    for method, path, body in BAD:
        headers = {"Content-Type": "application/json"}
        answer = await alice_http.request(method, path, content=json.dumps(body), headers=headers)
        assert answer.status_code == 422, body
        assert answer.headers["content-type"] == "application/problem+json"
    for query in ("namespace=&key=k", "namespace=a..b&key=k", "namespace=a", "key=k", "namespace=a&key=%00"):
        assert (await alice_http.get(f"/store/items?{query}")).status_code == 422, query


async def test_any_path_can_be_indexed(alice_http: httpx2.AsyncClient) -> None:
    for path in (
        "[",
        "]",
        "{",
        "}",
        "{a,",
        "a[",
        "a[*",
        "a.",
        ".",
        "..",
        "$",
        "$.a",
        "[x]",
        "[-1]",
        "*",
        "{a.b,c}",
        "%s",
    ):
        answer = await alice_http.put(
            "/store/items", json=ITEM | {"value": {"a": [{"b": "x"}], "c": "y"}, "index": [path]}
        )
        assert answer.status_code == 204, path


@pytest.mark.parametrize(
    ("value", "index", "texts"),
    [
        ({"t": "tea"}, ["t", "t"], ["tea"]),
        ({"t": [{"0": "tea"}, "cake"]}, ["t[*]", "t[*].0"], ['{"0": "tea"}', "cake"]),  # both have a `t[*].0`
        ({"t": "tea"}, [], []),
    ],
)
async def test_text_at_several_indexed_paths_is_embedded_once(
    alice_http: httpx2.AsyncClient, model: ScriptedModel, value: dict[str, Any], index: list[str], texts: list[str]
) -> None:
    put = await alice_http.put("/store/items", json={"namespace": ["m"], "key": "k", "value": value, "index": index})

    assert put.status_code == 204
    assert [text for asked in model.embedded for text in asked.body["input"]] == [f"passage: {text}" for text in texts]


async def test_names_of_maximal_length_are_accepted(alice: LangGraphClient) -> None:
    labels = [chr(0x4E00 + n) * 30 for n in range(10)]
    await alice.store.put_item(labels, "k" * 1000, {"x" * 250: "tea"}, index=["x" * 250])

    assert len((await alice.store.search_items(labels, query="tea"))["items"]) == 1


async def test_unusual_values_round_trip(alice_http: httpx2.AsyncClient) -> None:
    value = {"big": 2**64 - 1, "small": 1e-300, "text": "\U0001f600\\u0000 %s", "": [None, {"a": []}], "$gt": 1}
    put = await alice_http.put("/store/items", json={"namespace": ["m"], "key": "%s", "value": value, "index": False})

    assert put.status_code == 204
    assert (await alice_http.get("/store/items", params={"namespace": "m", "key": "%s"})).json()["value"] == value


async def test_store_without_an_embedding_model_keeps_items_and_finds_none_by_meaning(
    make_settings4: MakeSettings, model: ScriptedModel
) -> None:
    settings = make_settings4(embedding_model="none")
    async with create_http_client(settings) as http, create_pool(settings) as pool:
        store = SharedStore(pool, settings, create_embedding_model(settings, http)).for_owner(ALICE)
        await store.aput(("m",), "k", {"text": "tea"})

        assert [item.key for item in await store.asearch(("m",))] == ["k"]
        with pytest.raises(InvalidRequest, match="EMBEDDING_MODEL is none"):
            await store.asearch(("m",), query="tea")
    assert model.embedded == []
