"""The store: items under namespaces, found by key, by filter and by likeness."""

import httpx2
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.conformance.support import refused


@pytest.fixture
async def place(client: LangGraphClient, mark: str) -> list[str]:
    """A namespace with three items, and one below it."""
    place = [mark, "things"]
    for number, colour in enumerate(["red", "green", "blue"]):
        await client.store.put_item(place, f"k{number}", {"n": number, "colour": colour})
    await client.store.put_item([*place, "deep"], "k3", {"n": 3, "colour": "red"})
    return place


async def keys(client: LangGraphClient, place: list[str], **search: object) -> set[str]:
    found = await client.store.search_items(place, **search)  # type: ignore[arg-type]  # each test passes valid fields
    return {item["key"] for item in found["items"]}


async def test_item_is_put_and_returned(client: LangGraphClient, mark: str) -> None:
    await client.store.put_item([mark], "key", {"text": "Hello", "list": [1, {"a": None}]})
    item = await client.store.get_item([mark], "key")
    assert item["namespace"] == [mark]
    assert item["key"] == "key"
    assert item["value"] == {"text": "Hello", "list": [1, {"a": None}]}
    assert item["created_at"] <= item["updated_at"]


async def test_put_replaces_the_item(client: LangGraphClient, mark: str) -> None:
    await client.store.put_item([mark], "key", {"text": "Hello"})
    first = await client.store.get_item([mark], "key")
    await client.store.put_item([mark], "key", {"other": "Bye"})
    second = await client.store.get_item([mark], "key")
    assert second["value"] == {"other": "Bye"}
    assert second["updated_at"] > first["updated_at"]


async def test_unknown_item_is_404(client: LangGraphClient, mark: str) -> None:
    answer: object = await client.store.get_item([mark], "none")
    assert answer is None


async def test_deleted_item_is_gone(client: LangGraphClient, place: list[str]) -> None:
    await client.store.delete_item(place, "k0")
    await client.store.delete_item(place, "k0")
    assert await keys(client, place) == {"k1", "k2", "k3"}


async def test_namespaces_are_separate(client: LangGraphClient, mark: str) -> None:
    await client.store.put_item([mark, "a"], "key", {"in": "a"})
    await client.store.put_item([mark, "b"], "key", {"in": "b"})
    assert (await client.store.get_item([mark, "a"], "key"))["value"] == {"in": "a"}
    assert await keys(client, [mark, "a"]) == {"key"}


async def test_search_below_a_prefix(client: LangGraphClient, place: list[str]) -> None:
    assert await keys(client, place[:1]) == {"k0", "k1", "k2", "k3"}
    assert await keys(client, [*place, "deep"]) == {"k3"}
    assert await keys(client, [*place, "dee"]) == set()


async def test_search_by_filter(client: LangGraphClient, place: list[str]) -> None:
    assert await keys(client, place, filter={"colour": "red"}) == {"k0", "k3"}
    assert await keys(client, place, filter={"colour": "red", "n": 0}) == {"k0"}
    assert await keys(client, place, filter={"n": {"$gt": 1}}) == {"k2", "k3"}
    assert await keys(client, place, filter={"n": {"$gte": 1, "$lt": 3}}) == {"k1", "k2"}
    assert await keys(client, place, filter={"n": {"$lte": 0}}) == {"k0"}
    assert await keys(client, place, filter={"n": {"$eq": 1}}) == {"k1"}
    assert await keys(client, place, filter={"colour": {"$ne": "red"}}) == {"k1", "k2"}


async def test_search_in_pages(client: LangGraphClient, place: list[str]) -> None:
    pages = [await keys(client, place, limit=3), await keys(client, place, limit=3, offset=3)]
    assert [len(page) for page in pages] == [3, 1]
    assert pages[0] | pages[1] == {"k0", "k1", "k2", "k3"}


async def test_search_with_a_query(client: LangGraphClient, place: list[str]) -> None:
    assert await keys(client, place, query="red") == {"k0", "k1", "k2", "k3"}


async def test_index_and_ttl_are_accepted(client: LangGraphClient, mark: str) -> None:
    await client.store.put_item([mark], "a", {"text": "Hello"}, index=False)
    await client.store.put_item([mark], "b", {"text": "Hello"}, index=["text"])
    await client.store.put_item([mark], "c", {"text": "Hello"}, ttl=5)
    assert await keys(client, [mark], refresh_ttl=True) == {"a", "b", "c"}
    assert (await client.store.get_item([mark], "c", refresh_ttl=False))["value"] == {"text": "Hello"}


async def test_namespaces_are_listed(client: LangGraphClient, place: list[str]) -> None:
    below = await client.store.list_namespaces(prefix=place[:1])
    assert sorted(below["namespaces"]) == [place, [*place, "deep"]]
    shallow = await client.store.list_namespaces(prefix=place[:1], max_depth=2)
    assert shallow["namespaces"] == [place]
    deep = await client.store.list_namespaces(prefix=place[:1], suffix=["deep"])
    assert deep["namespaces"] == [[*place, "deep"]]
    pages = [await client.store.list_namespaces(prefix=place[:1], limit=1, offset=offset) for offset in range(3)]
    assert [len(page["namespaces"]) for page in pages] == [1, 1, 0]
    assert pages[0] != pages[1]


async def test_invalid_request_is_rejected(client: LangGraphClient, http: httpx2.AsyncClient, place: list[str]) -> None:
    with refused(422, reference=400):
        await client.store.search_items(place, filter={"n": {"$near": 1}})
    with refused(422, reference=400):
        await client.store.put_item([], "key", {})
    with refused(422):
        await client.store.put_item([""], "key", {})
    wrong = [
        {"namespace": ["a.b"], "key": "k", "value": {}},
        {"namespace": ["a"], "key": "k", "value": 1},
        {"namespace": ["a"], "value": {}},
        {"namespace": "a", "key": "k", "value": {}},
    ]
    for body in wrong:
        assert (await http.put("/store/items", json=body)).status_code == 422
