"""Assistants: a graph with a configuration and a name, and their versions."""

from typing import Any

import httpx2
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Assistant, AssistantSortBy

from tests.conformance.support import built_in, plain, refused


@pytest.fixture
async def assistant(client: LangGraphClient, mark: str) -> Assistant:
    """An assistant of the test's own."""
    return await client.assistants.create("configured", name=mark, metadata={"mark": mark})


async def test_every_graph_has_an_assistant(client: LangGraphClient) -> None:
    found = await client.assistants.search(metadata={"created_by": "system"}, limit=100)
    names = {assistant["graph_id"]: assistant["name"] for assistant in found}
    assert {"echo", "chat", "nested", "factory", "async_factory"} <= set(names)
    assert all(name == graph_id for graph_id, name in names.items())


async def test_assistant_is_created_with_its_settings(client: LangGraphClient, mark: str) -> None:
    made = await client.assistants.create(
        "configured",
        {"configurable": {"size": "small"}, "tags": ["t"], "recursion_limit": 7},
        metadata={"mark": mark},
        name="A name",
        description="What it is for",
    )
    assert made["graph_id"] == "configured"
    assert made["config"]["configurable"] == {"size": "small"}
    assert made["config"]["tags"] == ["t"]
    assert made["config"]["recursion_limit"] == 7
    assert made["metadata"] == {"mark": mark}
    assert (made["name"], made["description"], made["version"]) == ("A name", "What it is for", 1)
    assert await client.assistants.get(made["assistant_id"]) == made


async def test_assistant_context_reaches_its_runs(client: LangGraphClient) -> None:
    made = await client.assistants.create("configured", context={"colour": "red"})
    assert made["context"] == {"colour": "red"}
    assert made["name"] == "Untitled"
    assert plain(await client.runs.wait(None, made["assistant_id"], input={}))["context"] == "red"


async def test_configurable_and_context_are_exclusive(client: LangGraphClient) -> None:
    with refused(422, reference=400):
        await client.assistants.create("configured", {"configurable": {"size": "small"}}, context={"colour": "red"})


async def test_assistant_id_can_be_chosen(client: LangGraphClient, unknown: str) -> None:
    made = await client.assistants.create("echo", assistant_id=unknown, name="First")
    assert made["assistant_id"] == unknown
    with refused(409):
        await client.assistants.create("echo", assistant_id=unknown)
    with refused(409):
        await client.assistants.create("echo", assistant_id=unknown, if_exists="raise")
    again = await client.assistants.create("echo", assistant_id=unknown, if_exists="do_nothing", name="Second")
    assert again == made


async def test_invalid_assistant_is_rejected(client: LangGraphClient) -> None:
    with refused(404):
        await client.assistants.create("no-such-graph")
    with refused(422):
        await client.assistants.create("echo", assistant_id="no-uuid")
    with refused(422):
        await client.assistants.create(None)


async def test_unknown_or_malformed_assistant_id_is_rejected(client: LangGraphClient, unknown: str) -> None:
    with refused(404):
        await client.assistants.get(unknown)
    with refused(422):
        await client.assistants.get("no-uuid")


async def test_update_creates_a_version(client: LangGraphClient, assistant: Assistant, mark: str) -> None:
    assistant_id = assistant["assistant_id"]
    updated = await client.assistants.update(assistant_id, name="Renamed", description="New", metadata={"more": 1})
    assert (updated["version"], updated["name"], updated["description"]) == (2, "Renamed", "New")
    assert updated["metadata"] == {"mark": mark, "more": 1}
    assert updated["updated_at"] > assistant["updated_at"]
    assert updated["created_at"] == assistant["created_at"]

    configured = await client.assistants.update(assistant_id, config={"configurable": {"size": "large"}})
    assert configured["config"]["configurable"] == {"size": "large"}
    replaced = await client.assistants.update(assistant_id, context={"colour": "blue"})
    assert replaced["context"] == {"colour": "blue"}
    moved = await client.assistants.update(assistant_id, graph_id="echo")
    assert (moved["graph_id"], moved["version"]) == ("echo", 5)
    assert await client.assistants.get(assistant_id) == moved


async def test_update_of_unknown_assistant_or_graph_is_rejected(
    client: LangGraphClient, assistant: Assistant, unknown: str
) -> None:
    with refused(404):
        await client.assistants.update(unknown, name="Renamed")
    with refused(404):
        await client.assistants.update(assistant["assistant_id"], graph_id="no-such-graph")


async def test_versions_are_listed_newest_first(client: LangGraphClient, assistant: Assistant) -> None:
    assistant_id = assistant["assistant_id"]
    await client.assistants.update(assistant_id, name="Second", metadata={"kind": "good"})
    await client.assistants.update(assistant_id, name="Third", metadata={"kind": "bad"})

    versions = await client.assistants.get_versions(assistant_id)
    assert [version["version"] for version in versions] == [3, 2, 1]
    assert [version["name"] for version in versions] == ["Third", "Second", assistant["name"]]
    page = await client.assistants.get_versions(assistant_id, limit=1, offset=1)
    assert [version["version"] for version in page] == [2]
    good = await client.assistants.get_versions(assistant_id, metadata={"kind": "good"})
    assert [version["version"] for version in good] == [2]


async def test_earlier_version_is_restored(client: LangGraphClient, assistant: Assistant) -> None:
    assistant_id = assistant["assistant_id"]
    await client.assistants.update(assistant_id, name="Second", config={"configurable": {"size": "large"}})
    back = await client.assistants.set_latest(assistant_id, 1)
    assert (back["version"], back["name"], back["config"]) == (1, assistant["name"], assistant["config"])
    assert (await client.assistants.get(assistant_id))["name"] == assistant["name"]
    assert len(await client.assistants.get_versions(assistant_id)) == 2
    assert (await client.assistants.update(assistant_id, name="Third"))["version"] == 3


@pytest.mark.reference_differs("it leaves the newer version's context in place")
async def test_earlier_version_restores_its_context(client: LangGraphClient) -> None:
    made = await client.assistants.create("configured", context={"colour": "red"})
    await client.assistants.update(made["assistant_id"], context={"colour": "blue"})
    assert (await client.assistants.set_latest(made["assistant_id"], 1))["context"] == {"colour": "red"}


async def test_unknown_version_is_rejected(client: LangGraphClient, assistant: Assistant, unknown: str) -> None:
    with refused(404):
        await client.assistants.get_versions(unknown)
    with refused(404):
        await client.assistants.set_latest(assistant["assistant_id"], 9)
    with refused(404):
        await client.assistants.set_latest(unknown, 1)


async def test_deleted_assistant_is_gone(client: LangGraphClient, assistant: Assistant) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], assistant["assistant_id"], input={})
    await client.assistants.delete(assistant["assistant_id"])
    with refused(404):
        await client.assistants.get(assistant["assistant_id"])
    assert (await client.threads.get(thread["thread_id"]))["thread_id"] == thread["thread_id"]
    with refused(404):
        await client.assistants.delete(assistant["assistant_id"])


async def test_assistant_is_deleted_with_its_threads(client: LangGraphClient, assistant: Assistant) -> None:
    thread, other = await client.threads.create(), await client.threads.create()
    await client.runs.wait(thread["thread_id"], assistant["assistant_id"], input={})
    await client.assistants.delete(assistant["assistant_id"], delete_threads=True)
    with refused(404):
        await client.threads.get(thread["thread_id"])
    assert (await client.threads.get(other["thread_id"]))["thread_id"] == other["thread_id"]


class TestSearch:
    """Four assistants of the test's own, the last updated first."""

    @pytest.fixture
    async def made(self, client: LangGraphClient, mark: str) -> list[Assistant]:
        graphs = [("echo", "b"), ("echo", "a"), ("counter", "d"), ("counter", "c")]
        made = [
            await client.assistants.create(graph, name=f"{mark}-{name}", metadata={"mark": mark, "nested": {"n": name}})
            for graph, name in graphs
        ]
        made[0] = await client.assistants.update(made[0]["assistant_id"], description="Touched")
        return made

    async def test_search_by_metadata(self, client: LangGraphClient, made: list[Assistant], mark: str) -> None:
        found = await client.assistants.search(metadata={"mark": mark})
        assert {one["assistant_id"] for one in found} == {one["assistant_id"] for one in made}
        inner = await client.assistants.search(metadata={"mark": mark, "nested": {"n": "c"}})
        assert [one["assistant_id"] for one in inner] == [made[3]["assistant_id"]]

    async def test_search_by_graph_and_name(self, client: LangGraphClient, made: list[Assistant], mark: str) -> None:
        found = await client.assistants.search(metadata={"mark": mark}, graph_id="echo")
        assert {one["assistant_id"] for one in found} == {one["assistant_id"] for one in made[:2]}
        named = await client.assistants.search(name=f"{mark}-D".upper())
        assert [one["assistant_id"] for one in named] == [made[2]["assistant_id"]]

    @pytest.mark.parametrize(
        ("field", "ascending"),
        [("name", [1, 0, 3, 2]), ("created_at", [0, 1, 2, 3]), ("updated_at", [1, 2, 3, 0])],
    )
    async def test_search_is_sorted(
        self, client: LangGraphClient, made: list[Assistant], mark: str, field: AssistantSortBy, ascending: list[int]
    ) -> None:
        expected = [made[index]["assistant_id"] for index in ascending]
        up = await client.assistants.search(metadata={"mark": mark}, sort_by=field, sort_order="asc")
        assert [one["assistant_id"] for one in up] == expected
        down = await client.assistants.search(metadata={"mark": mark}, sort_by=field, sort_order="desc")
        assert [one["assistant_id"] for one in down] == expected[::-1]

    @pytest.mark.parametrize("field", ["assistant_id", "graph_id"])
    async def test_search_is_sorted_by_ids(
        self, client: LangGraphClient, made: list[Assistant], mark: str, field: AssistantSortBy
    ) -> None:
        found = await client.assistants.search(metadata={"mark": mark}, sort_by=field, sort_order="asc")
        values = [one[field] for one in found]
        assert len(values) == len(made)
        assert values == sorted(values)

    async def test_search_returns_selected_fields(
        self, client: LangGraphClient, made: list[Assistant], mark: str
    ) -> None:
        found = await client.assistants.search(metadata={"mark": mark}, select=["assistant_id", "version"])
        assert len(found) == len(made)
        assert all(set(one) == {"assistant_id", "version"} for one in found)

    async def test_search_is_paginated(self, client: LangGraphClient, made: list[Assistant], mark: str) -> None:
        first = await client.assistants.search(
            metadata={"mark": mark}, limit=3, sort_by="created_at", sort_order="asc", response_format="object"
        )
        assert len(first["assistants"]) == 3
        assert first["next"] == "3"
        last = await client.assistants.search(
            metadata={"mark": mark},
            limit=3,
            offset=3,
            sort_by="created_at",
            sort_order="asc",
            response_format="object",
        )
        assert [one["assistant_id"] for one in last["assistants"]] == [made[3]["assistant_id"]]
        assert last["next"] is None

    async def test_count_matches_the_search(self, client: LangGraphClient, made: list[Assistant], mark: str) -> None:
        assert await client.assistants.count(metadata={"mark": mark}) == len(made)
        assert await client.assistants.count(metadata={"mark": mark}, graph_id="counter") == 2
        assert await client.assistants.count(name=f"{mark}-a") == 1
        assert await client.assistants.count(name=mark + "-none") == 0

    async def test_invalid_search_is_rejected(self, client: LangGraphClient) -> None:
        wrong: list[dict[str, Any]] = [
            {"limit": 0},
            {"limit": 1001},
            {"offset": -1},
            {"sort_by": "size"},
            {"sort_order": "sideways"},
        ]
        for search in wrong:
            with refused(422):
                await client.assistants.search(**search)
        with refused(404):
            await client.assistants.search(graph_id="no-such-graph")


def _nodes(graph: dict[str, list[dict[str, Any]]]) -> set[str]:
    return {node["id"] for node in graph["nodes"]}


def _edges(graph: dict[str, list[dict[str, Any]]]) -> set[tuple[str, str]]:
    return {(edge["source"], edge["target"]) for edge in graph["edges"]}


class TestGraph:
    async def test_graph_of_an_assistant(self, client: LangGraphClient, assistant: Assistant) -> None:
        graph = await client.assistants.get_graph(assistant["assistant_id"])
        assert _nodes(graph) == {"__start__", "look", "__end__"}
        assert _edges(graph) == {("__start__", "look"), ("look", "__end__")}

    async def test_graph_by_its_name(self, client: LangGraphClient) -> None:
        assert _nodes(await client.assistants.get_graph("nested")) == {"__start__", "begin", "middle", "__end__"}

    async def test_graph_includes_subgraphs_with_xray(self, client: LangGraphClient) -> None:
        one = await client.assistants.get_graph("nested", xray=1)
        assert {"middle:down", "middle:inner"} <= _nodes(one)
        every = await client.assistants.get_graph("nested", xray=True)
        assert {"middle:down", "middle:inner:bottom"} <= _nodes(every)
        assert ("middle:down", "middle:inner:bottom") in _edges(every)

    async def test_branch_is_a_conditional_edge(self, client: LangGraphClient) -> None:
        edges = (await client.assistants.get_graph("chat"))["edges"]
        assert {edge["target"] for edge in edges if edge.get("conditional")} == {"tools", "__end__"}

    async def test_invalid_graph_request_is_rejected(self, client: LangGraphClient, unknown: str) -> None:
        with refused(422):
            await client.assistants.get_graph("nested", xray=-1)
        with refused(404):
            await client.assistants.get_graph(unknown)


class TestSchemas:
    async def test_schemas_of_an_assistant(self, client: LangGraphClient, assistant: Assistant) -> None:
        schemas = await client.assistants.get_schemas(assistant["assistant_id"])
        assert schemas["graph_id"] == "configured"
        fields = {"context", "given", "tags", "about", "limits"}
        for schema in (schemas["input_schema"], schemas["output_schema"], schemas["state_schema"]):
            assert set((schema or {})["properties"]) == fields
        assert set((schemas["context_schema"] or {})["properties"]) == {"colour"}

    async def test_schemas_of_unknown_assistant_are_404(self, client: LangGraphClient, unknown: str) -> None:
        with refused(404):
            await client.assistants.get_schemas(unknown)


class TestSubgraphs:
    async def test_subgraphs_have_names_and_schemas(self, client: LangGraphClient) -> None:
        nested = (await built_in(client, "nested"))["assistant_id"]
        subgraphs = await client.assistants.get_subgraphs(nested)
        assert set(subgraphs) == {"middle"}
        state = subgraphs["middle"]["state_schema"]
        assert state is not None
        assert set(state["properties"]) == {"ask", "trail"}

    async def test_nested_subgraphs_are_listed_recursively(self, client: LangGraphClient) -> None:
        nested = (await built_in(client, "nested"))["assistant_id"]
        assert set(await client.assistants.get_subgraphs(nested, recurse=True)) == {"middle", "middle|inner"}

    async def test_subgraphs_of_a_namespace(self, client: LangGraphClient) -> None:
        nested = (await built_in(client, "nested"))["assistant_id"]
        assert set(await client.assistants.get_subgraphs(nested, "middle")) == {"middle"}
        assert await client.assistants.get_subgraphs(nested, "nowhere") == {}

    async def test_graph_without_subgraphs_has_none(self, client: LangGraphClient) -> None:
        assert await client.assistants.get_subgraphs((await built_in(client, "echo"))["assistant_id"]) == {}

    async def test_subgraphs_of_unknown_assistant_are_404(self, client: LangGraphClient, unknown: str) -> None:
        with refused(404):
            await client.assistants.get_subgraphs(unknown)


async def test_pagination_header_has_the_next_offset(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/assistants/search", json={"limit": 1})
    assert answer.headers["X-Pagination-Next"] == "1"
