"""Assistants, asked for by LangGraph's own client."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import httpx2
import psycopg
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError

from project4_agent_api.assistants.resolution import built_in_assistant_id
from project4_agent_api.assistants.service import Assistants
from project4_agent_api.settings import Settings
from shared.database.engine import create_engine, create_session_factory
from shared.errors import InvalidRequest, NotFound
from tests.support.agent_parts import ALICE, BOB, client_of, create_parts, status_of
from tests.support.running import running


async def test_built_in_assistants_have_langgraphs_ids(alice: LangGraphClient) -> None:
    found = await alice.assistants.search(sort_by="name", sort_order="asc")

    assert [one["name"] for one in found] == ["coloured", "echo", "nested", "shaped"]
    echo = found[1]
    assert echo["assistant_id"] == "046b5dc7-2108-582c-9c6c-31d556d138f0"  # as LangGraph's server has it
    assert (echo["graph_id"], echo["version"], echo["metadata"]) == ("echo", 1, {"created_by": "system"})
    assert (echo["config"], echo["context"], echo["description"]) == ({}, {}, "Says it again.")
    assert await alice.assistants.get(echo["assistant_id"]) == echo
    assert [v["version"] for v in await alice.assistants.get_versions(echo["assistant_id"])] == [1]


async def test_built_in_assistants_are_stored_once_by_concurrent_starts(
    make_settings4: Callable[..., Settings], database_url: str
) -> None:
    settings = make_settings4()
    with running(create_parts(settings)) as one, running(create_parts(settings)) as other:
        clients = [client_of(url, ALICE) for url in (one, other) for _ in range(4)]
        for client in clients[::4]:
            # FastAPI builds routes at the first request, and sets warnings aside meanwhile: for both apps here.
            assert (await client.get("/info")).status_code == 200
        answers = await asyncio.gather(*(client.post("/assistants/count", json={}) for client in clients))
        for client in clients:
            await client.aclose()

    assert [answer.text for answer in answers] == ["4"] * 8
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM assistant_versions").fetchone() == (4,)


async def test_assistant_is_created(alice: LangGraphClient) -> None:
    made = await alice.assistants.create(
        "coloured",
        {"tags": ["t"], "recursion_limit": 7},
        context={"colour": "red"},
        metadata={"team": {"name": "blue"}},
        name="Reds",
        description="Red things",
    )

    assert made["config"] == {"tags": ["t"], "recursion_limit": 7, "configurable": {"colour": "red"}}
    assert made["context"] == {"colour": "red"}
    assert (made["name"], made["description"], made["version"]) == ("Reds", "Red things", 1)
    assert made["created_at"] == made["updated_at"]
    assert await alice.assistants.get(made["assistant_id"]) == made


async def test_configurable_and_context_are_the_same(alice: LangGraphClient) -> None:
    made = await alice.assistants.create("coloured", {"configurable": {"colour": "red"}})

    assert made["context"] == {"colour": "red"}
    both = alice.assistants.create("coloured", {"configurable": {"colour": "red"}}, context={"colour": "blue"})
    assert await status_of(both) == 422


async def test_assistant_without_a_name_is_untitled(alice: LangGraphClient) -> None:
    assert (await alice.assistants.create("echo"))["name"] == "Untitled"


async def test_assistant_id_is_unique(alice: LangGraphClient, bob: LangGraphClient) -> None:
    chosen = str(uuid4())
    first = await alice.assistants.create("echo", assistant_id=chosen)

    assert first["assistant_id"] == chosen
    assert await status_of(alice.assistants.create("nested", assistant_id=chosen)) == 409
    assert await alice.assistants.create("nested", assistant_id=chosen, if_exists="do_nothing") == first
    assert await status_of(bob.assistants.create("nested", assistant_id=chosen, if_exists="do_nothing")) == 409


async def test_concurrent_creates_of_an_id_have_one_winner(alice_http: httpx2.AsyncClient) -> None:
    body = {"graph_id": "echo", "assistant_id": str(uuid4())}

    answers = await asyncio.gather(*(alice_http.post("/assistants", json=body) for _ in range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7


async def test_update_creates_a_version(alice: LangGraphClient) -> None:
    made = await alice.assistants.create("coloured", context={"colour": "red"}, metadata={"a": 1}, description="d")
    of = made["assistant_id"]

    changed = await alice.assistants.update(of, metadata={"b": 2}, name="N")
    assert (changed["version"], changed["name"], changed["metadata"]) == (2, "N", {"a": 1, "b": 2})
    assert (changed["description"], changed["context"]) == ("d", {"colour": "red"})
    assert changed["created_at"] == made["created_at"] < changed["updated_at"]
    changed = await alice.assistants.update(of, config={"tags": ["t"], "configurable": {"colour": "blue"}})
    assert changed["context"] == {"colour": "blue"}
    changed = await alice.assistants.update(of, context={"colour": "green"}, graph_id="echo", description="e")
    assert changed["config"] == {"tags": ["t"], "configurable": {"colour": "green"}}
    changed = await alice.assistants.update(of, context={})
    assert (changed["config"], changed["context"], changed["version"]) == ({"tags": ["t"]}, {}, 5)

    versions = await alice.assistants.get_versions(of, limit=2, offset=1)
    assert [one["version"] for one in versions] == [4, 3]
    assert versions[0]["graph_id"] == "echo"
    assert [one["version"] for one in await alice.assistants.get_versions(of, {"b": 2})] == [5, 4, 3, 2]
    assert await status_of(alice.assistants.get_versions(of, {"b": 3})) == 404


async def test_earlier_version_is_restored(alice: LangGraphClient) -> None:
    first = await alice.assistants.create("coloured", context={"colour": "red"}, metadata={"a": 1}, name="one")
    of = first["assistant_id"]
    await alice.assistants.update(of, graph_id="echo", context={"colour": "blue"}, metadata={"a": 2}, name="two")

    again = await alice.assistants.set_latest(of, 1)

    assert again | {"updated_at": first["updated_at"]} == first
    assert again["updated_at"] > first["updated_at"]
    assert (await alice.assistants.update(of, name="three"))["version"] == 3  # numbers are not used twice
    assert await status_of(alice.assistants.set_latest(of, 9)) == 404


async def test_concurrent_updates_create_a_version_each(alice: LangGraphClient) -> None:
    of = (await alice.assistants.create("echo"))["assistant_id"]

    changed = await asyncio.gather(*(alice.assistants.update(of, name=f"n{number}") for number in range(8)))

    assert sorted(one["version"] for one in changed) == list(range(2, 10))


async def test_assistants_are_searched(alice: LangGraphClient) -> None:
    for number in range(3):
        await alice.assistants.create("echo", name=f"Helper 50%_{number}", metadata={"n": number, "tags": {"x": 1}})

    async def names(**by: Any) -> list[str]:
        return [one["name"] for one in await alice.assistants.search(**by)]

    assert await names(name="helper", metadata={"tags": {"x": 1}}) == [f"Helper 50%_{n}" for n in (2, 1, 0)]
    assert await names(name="50%_1") == ["Helper 50%_1"]
    assert await names(name="5%") == []
    assert await names(metadata={"n": 2}) == ["Helper 50%_2"]
    assert await names(graph_id="echo", sort_by="created_at", sort_order="asc") == [
        "echo",
        *(f"Helper 50%_{n}" for n in range(3)),
    ]
    assert await names(graph_id="echo", limit=2, offset=1, sort_by="name") == ["Helper 50%_1", "Helper 50%_0"]
    assert await alice.assistants.count(name="helper") == 3
    assert await alice.assistants.count(graph_id="echo", metadata={"n": 1}) == 1
    assert await status_of(alice.assistants.search(graph_id="nope")) == 404
    assert await status_of(alice.assistants.count(graph_id="nope")) == 404


async def test_page_has_the_next_offset(alice_http: httpx2.AsyncClient) -> None:
    first = await alice_http.post("/assistants/search", json={"limit": 3})
    last = await alice_http.post("/assistants/search", json={"limit": 3, "offset": 3})

    assert (first.headers["x-pagination-next"], first.headers["x-pagination-total"]) == ("3", "4")
    assert "x-pagination-next" not in last.headers
    assert last.headers["x-pagination-total"] == "4"
    ids = [one["assistant_id"] for one in first.json() + last.json()]
    assert len(set(ids)) == 4


async def test_search_returns_selected_fields(alice: LangGraphClient) -> None:
    found: list[Any] = await alice.assistants.search(graph_id="echo", select=["name", "metadata"])

    assert found == [{"name": "echo", "metadata": {"created_by": "system"}}]


async def test_assistant_is_deleted(alice: LangGraphClient, database_url: str) -> None:
    of = (await alice.assistants.create("echo"))["assistant_id"]
    with psycopg.connect(database_url) as connection:
        for owner in (ALICE, BOB):
            connection.execute(
                "INSERT INTO threads VALUES (%s, %s, 'idle', jsonb_build_object('assistant_id', %s::text), '{}', null,"
                " '{}', null, null, null, null, now(), now(), now())",
                (uuid4(), owner, of),
            )

    await alice.assistants.delete(of)
    assert await status_of(alice.assistants.get(of)) == 404
    assert await status_of(alice.assistants.delete(of)) == 404
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM threads").fetchone() == (2,)


async def test_deletion_of_an_assistant_ends_its_runs(alice: LangGraphClient, database_url: str) -> None:
    of, other = [(await alice.assistants.create("echo"))["assistant_id"] for _ in range(2)]
    with psycopg.connect(database_url) as connection:
        for assistant_id, status in ((of, "pending"), (of, "running"), (of, "success"), (other, "pending")):
            thread_id = uuid4()
            connection.execute(
                "INSERT INTO threads VALUES (%s, %s, 'busy', '{}', '{}', null, '{}', null, null, null, null,"
                " now(), now(), now())",
                (thread_id, ALICE),
            )
            connection.execute(
                "INSERT INTO runs (run_id, thread_id, assistant_id, owner_id, status, metadata, kwargs, attempt,"
                " multitask_strategy, due_at, created_at, updated_at)"
                " VALUES (gen_random_uuid(), %s, %s, %s, %s, '{}', '{}', 1, 'enqueue', now(), now(), now())",
                (thread_id, assistant_id, ALICE, status),
            )

    await alice.assistants.delete(of)

    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT assistant_id::text, status, cancel FROM runs").fetchall()
    assert sorted(rows, key=str) == sorted(
        [(of, "interrupted", None), (of, "running", "interrupt"), (of, "success", None), (other, "pending", None)],
        key=str,
    )


async def test_threads_are_deleted_with_an_assistant_on_request(alice: LangGraphClient, database_url: str) -> None:
    of = (await alice.assistants.create("echo"))["assistant_id"]
    mine, other, bobs = uuid4(), uuid4(), uuid4()
    with psycopg.connect(database_url) as connection:
        for thread_id, owner, assistant_id in ((mine, ALICE, of), (other, ALICE, str(uuid4())), (bobs, BOB, of)):
            connection.execute(
                "INSERT INTO threads VALUES (%s, %s, 'idle', jsonb_build_object('assistant_id', %s::text), '{}', null,"
                " '{}', null, null, null, null, now(), now(), now())",
                (thread_id, owner, assistant_id),
            )
            connection.execute(
                "INSERT INTO checkpoints VALUES (%s, '', 'c', null, null, '{}', '{}')", (str(thread_id),)
            )

    await alice.assistants.delete(of, delete_threads=True)

    with psycopg.connect(database_url) as connection:
        threads = connection.execute("SELECT thread_id FROM threads").fetchall()
        checkpoints = connection.execute("SELECT thread_id FROM checkpoints").fetchall()
    assert {row[0] for row in threads} == {other, bobs}
    assert {row[0] for row in checkpoints} == {str(other), str(bobs)}


async def test_built_in_assistants_are_read_only(alice: LangGraphClient) -> None:
    of = str(built_in_assistant_id("echo"))

    assert await status_of(alice.assistants.update(of, name="mine")) == 403
    assert await status_of(alice.assistants.delete(of)) == 403
    assert await status_of(alice.assistants.set_latest(of, 1)) == 403
    assert await status_of(alice.assistants.create("echo", assistant_id=of)) == 409
    assert (await alice.assistants.create("echo", assistant_id=of, if_exists="do_nothing"))["name"] == "echo"


async def test_other_owners_assistant_is_404(alice: LangGraphClient, bob: LangGraphClient) -> None:
    of = (await alice.assistants.create("echo", name="secret", metadata={"a": 1}))["assistant_id"]

    def attempts(assistant_id: str) -> list[Any]:
        its = bob.assistants
        return [
            its.get(assistant_id),
            its.update(assistant_id, name="bob's"),
            its.delete(assistant_id),
            its.get_versions(assistant_id),
            its.set_latest(assistant_id, 1),
            its.get_graph(assistant_id),
            its.get_schemas(assistant_id),
            its.get_subgraphs(assistant_id),
        ]

    for mine, nobodys in zip(attempts(of), attempts(str(uuid4())), strict=True):
        answers = []
        for attempt in (mine, nobodys):
            with pytest.raises(APIStatusError) as caught:
                await attempt
            problem = caught.value.body
            assert isinstance(problem, dict)
            answers.append((caught.value.status_code, problem["type"], problem["detail"]))
        assert answers[0] == answers[1]
        assert answers[0][0] == 404
    assert await bob.assistants.search(name="secret") == []
    assert await bob.assistants.count(metadata={"a": 1}) == 0
    assert (await alice.assistants.get(of))["name"] == "secret"


async def test_graph_is_drawn(alice: LangGraphClient) -> None:
    of = str(built_in_assistant_id("nested"))

    plain = await alice.assistants.get_graph(of)
    assert [node["id"] for node in plain["nodes"]] == ["__start__", "begin", "middle", "__end__"]
    assert plain["nodes"][1] == {"id": "begin", "type": "runnable", "data": {"name": "begin"}}
    assert plain["edges"][0] == {"source": "__start__", "target": "begin"}
    one_down = {node["id"] for node in (await alice.assistants.get_graph(of, xray=1))["nodes"]}
    all_down = {node["id"] for node in (await alice.assistants.get_graph(of, xray=True))["nodes"]}
    assert "middle:inner" in one_down
    assert "middle:inner:bottom" in all_down


async def test_schemas_are_shown(alice: LangGraphClient) -> None:
    shown = await alice.assistants.get_schemas(str(built_in_assistant_id("coloured")))

    assert shown["graph_id"] == "coloured"
    for name in ("input_schema", "output_schema", "state_schema"):
        schema: Any = shown[name]
        assert schema["properties"]["trail"]["items"] == {"type": "string"}
    assert shown["context_schema"] == shown["config_schema"]
    assert shown["context_schema"]["properties"]["colour"]["type"] == "string"  # type: ignore[index]  # JSON, typed as an optional mapping
    messages = await alice.assistants.get_schemas(str(built_in_assistant_id("echo")))
    assert "messages" in messages["input_schema"]["properties"]  # type: ignore[index]  # JSON, typed as an optional mapping
    assert (messages["config_schema"], messages["context_schema"]) == ({}, None)


async def test_subgraphs_are_shown(alice: LangGraphClient) -> None:
    of = str(built_in_assistant_id("nested"))

    assert set(await alice.assistants.get_subgraphs(of)) == {"middle"}
    assert set(await alice.assistants.get_subgraphs(of, recurse=True)) == {"middle", "middle|inner"}
    one = await alice.assistants.get_subgraphs(of, "middle|inner", recurse=True)
    assert set(one) == {"middle|inner"}
    assert one["middle|inner"]["state_schema"]["properties"]["trail"]["type"] == "array"  # type: ignore[index]  # JSON, typed as an optional mapping
    assert await alice.assistants.get_subgraphs(of, "nowhere") == {}


async def test_configured_graph_is_drawn_with_the_assistants_config(
    alice: LangGraphClient,
) -> None:
    of = (await alice.assistants.create("shaped", {"configurable": {"shape": "square"}}))["assistant_id"]

    assert "square" in {node["id"] for node in (await alice.assistants.get_graph(of))["nodes"]}
    assert "round" in {node["id"] for node in (await alice.assistants.get_graph("shaped"))["nodes"]}  # by its name


async def test_graph_that_rejects_the_config_is_a_client_error(alice: LangGraphClient) -> None:
    of = (await alice.assistants.create("shaped", context={"shape": "impossible"}))["assistant_id"]

    assert await status_of(alice.assistants.get_graph(of)) == 422


async def test_assistant_has_its_graphs_description(make_settings4: Callable[..., Settings], database_url: str) -> None:
    engine = create_engine(make_settings4())
    sessions = create_session_factory(engine)
    for text in ("old", "new"):
        await Assistants({"echo": text}).ensure_built_in(sessions)
    await engine.dispose()

    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT description FROM assistants").fetchall() == [("new",)]


async def test_graph_id_is_reserved_for_the_service(
    alice: LangGraphClient, make_settings4: Callable[..., Settings]
) -> None:
    of = str(built_in_assistant_id("later"))
    await alice.assistants.create("echo", assistant_id=of, name="squatter")
    engine = create_engine(make_settings4())

    await Assistants({"later": None}).ensure_built_in(create_session_factory(engine))

    await engine.dispose()
    assert await alice.assistants.search(name="squatter") == []
    assert await status_of(alice.assistants.delete(of)) == 404


async def test_run_names_an_assistant_by_id_or_graph(alice: LangGraphClient, database_url: str) -> None:
    mine = await alice.assistants.create("coloured", context={"colour": "red"}, metadata={"a": 1})
    gone = await alice.assistants.create("echo")
    known = Assistants({"coloured": None})
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for wanted in ("coloured", str(built_in_assistant_id("coloured")), built_in_assistant_id("coloured")):
            assert (await known.resolve(connection, ALICE, wanted)).graph_id == "coloured"
        row = await known.resolve(connection, ALICE, mine["assistant_id"])
        assert (row.assistant_id, row.graph_id) == (UUID(mine["assistant_id"]), "coloured")
        assert (row.context, row.metadata, row.version) == ({"colour": "red"}, {"a": 1}, 1)
        for owner, wanted in ((BOB, mine["assistant_id"]), (ALICE, str(uuid4()))):
            with pytest.raises(NotFound):
                await known.resolve(connection, owner, wanted)
        with pytest.raises(InvalidRequest):
            await known.resolve(connection, ALICE, "echo")
        with pytest.raises(NotFound, match="no graph with this name"):
            await known.resolve(connection, ALICE, gone["assistant_id"])


BAD: list[dict[str, Any]] = [
    {},
    {"graph_id": ""},
    {"graph_id": "echo", "assistant_id": "no id"},
    {"graph_id": "echo", "config": {"recursion_limit": 0}},
    {"graph_id": "echo", "config": {"configurable": {"thread_id": "x"}}},
    {"graph_id": "echo", "config": {"max_concurrency": 0}},
    {"graph_id": "echo", "config": {"run_name": 7}},
    {"graph_id": "echo", "config": {"configurable": {"langgraph_auth_user": "bob"}}},
    {"graph_id": "echo", "if_exists": "replace"},
    {"graph_id": "echo", "name": "a\0b"},
    {"graph_id": "echo", "name": "\ud800"},
    {"graph_id": "echo", "metadata": {"a": ["x\0y"]}},
    {"graph_id": "echo", "metadata": {"\ud800": 1}},
    {"graph_id": "echo", "metadata": {"a": float("inf")}},
    {"graph_id": "echo", "context": [1]},
    {
        "graph_id": "echo",
        "metadata": {"a": [[[]]] * 2 and __import__("functools").reduce(lambda x, _: [x], range(200), 1)},
    },
]


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
async def test_invalid_requests_are_rejected(alice_http: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    answer = await alice_http.post(
        "/assistants", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/assistants/echo", 422),
        ("/assistants/00000000-0000-4000-8000-000000000000", 404),
        ("/assistants/nope/graph", 422),
        ("/assistants/echo/graph?xray=0", 422),
        ("/assistants/echo/graph?xray=much", 422),
        ("/assistants/%00/graph", 422),
    ],
)
async def test_unknown_ids_are_404(alice_http: httpx2.AsyncClient, path: str, status: int) -> None:
    assert (await alice_http.get(path)).status_code == status


async def test_null_means_omitted(alice_http: httpx2.AsyncClient) -> None:
    nothing = dict.fromkeys(("config", "context", "metadata", "if_exists", "name", "description", "assistant_id"))

    made = await alice_http.post("/assistants", json={"graph_id": "echo"} | nothing)

    assert made.status_code == 200
    assert made.json()["name"] == "Untitled"
    of = made.json()["assistant_id"]
    del nothing["if_exists"], nothing["assistant_id"]
    changed = await alice_http.patch(f"/assistants/{of}", json=nothing | {"graph_id": None})
    assert (changed.status_code, changed.json()["name"], changed.json()["version"]) == (200, "Untitled", 2)


async def test_info_describes_the_service(parts_url: str) -> None:
    async with httpx.AsyncClient(base_url=parts_url, trust_env=False) as client:
        assert (await client.get("/ok?check_db=1")).json() == {"ok": True}
        info = (await client.get("/info")).json()
    assert info["flags"]["assistants"] is True
    assert info["langgraph_py_version"].startswith("1.")
