"""Metadata and tags of documents, filters in searches and answers, and conversations about documents."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from project3_rag_docs.answers.follow_up import refers_back
from tests.support.document_answers import ask
from tests.support.documents import finished, found, ready, upload
from tests.support.scripted_model import ScriptedModel

REPORTS: dict[str, dict[str, Any]] = {
    "2021.txt": {"metadata": {"year": 2021, "author": "Ada", "final": True, "signed": "2021-03-04"}, "tags": ["a"]},
    "2022.txt": {"metadata": {"year": 2022.5, "author": "Bob", "signed": "2022-03-04"}, "tags": ["a", "b"]},
    "2023.txt": {"metadata": {"year": "2023", "author": "Ada"}, "tags": ["c"]},
    "none.txt": {},
}


async def reports(client: httpx2.AsyncClient) -> dict[str, str]:
    """Upload the reports; return their ids."""
    ids = {}
    for name, labels in REPORTS.items():
        document = await ready(client, f"The annual report {name} is about tulips.", name)
        ids[name] = document["id"]
        if labels:
            changed = await client.patch(f"/documents/{document['id']}", json=labels)
            assert changed.status_code == 200, changed.text
    return ids


async def test_filters_restrict_the_search(client3: httpx2.AsyncClient) -> None:
    ids = await reports(client3)

    for condition, names in (
        ({"metadata": {"author": "Ada"}}, ["2021.txt", "2023.txt"]),
        ({"metadata": {"author": ["Bob", "Cy"]}}, ["2022.txt"]),
        ({"metadata": {"final": True}}, ["2021.txt"]),
        ({"metadata": {"year": 2021.0}}, ["2021.txt"]),
        ({"metadata": {"year": {"gt": 2021}}}, ["2022.txt"]),
        ({"metadata": {"year": {"gte": 2021, "lt": 2022.5}}}, ["2021.txt"]),
        ({"metadata": {"signed": {"gte": "2022-01-01"}}}, ["2022.txt"]),
        ({"metadata": {"signed": {"lte": "2022-01-01"}, "author": "Bob"}}, []),
        ({"metadata": {"year'); --": 1}}, None),
        ({"tags": ["a"]}, ["2021.txt", "2022.txt"]),
        ({"tags": ["b", "c"]}, ["2022.txt", "2023.txt"]),
        ({"media_types": ["text/plain"]}, list(REPORTS)),
        ({"media_types": ["application/pdf"]}, []),
        ({"created_from": "2020-01-01T00:00:00Z", "created_before": "2099-01-01T00:00:00Z"}, list(REPORTS)),
        ({"created_before": "2020-01-01T00:00:00+08:00"}, []),
        ({}, list(REPORTS)),
    ):
        response = await client3.post("/documents/search", json={"query": "tulips", "filter": condition})
        assert response.status_code == (422 if names is None else 200), response.text
        if names is not None:
            assert sorted(hit["filename"] for hit in response.json()["hits"]) == names, condition
    both = await found(client3, "tulips", filter={"tags": ["a"]}, document_ids=[ids["2022.txt"], ids["none.txt"]])
    assert [hit["filename"] for hit in both] == ["2022.txt"]


async def test_answers_use_filtered_documents_only(client3: httpx2.AsyncClient, model: ScriptedModel) -> None:
    await reports(client3)
    model.says("Tulips [1].")

    answer = await ask(client3, "What is the annual report about?", filter={"tags": ["c"]})
    nothing = await ask(client3, "What is the annual report about?", filter={"tags": ["none"]})

    assert [citation["filename"] for citation in answer["citations"]] == ["2023.txt"]
    assert nothing["citations"] == []


async def test_labels_are_set_with_the_upload(client3: httpx2.AsyncClient) -> None:
    form = {"metadata": '{"year": 2024, "author": "Ada"}', "tags": ["report", "final"]}
    files = {"file": ("report.txt", b"About tulips.")}

    document = (await client3.post("/documents", files=files, data=form)).json()
    again = (await client3.post("/documents", files=files, data={"tags": ["draft"]})).json()

    assert (document["metadata"], document["tags"]) == ({"year": 2024, "author": "Ada"}, ["report", "final"])
    assert (again["id"], again["metadata"], again["tags"]) == (document["id"], document["metadata"], ["draft"])
    for metadata in ("[]", "{", '{"a": null}', '{"a b": 1}', '{"a": [1]}', '{"a": NaN}'):
        response = await client3.post("/documents", files={"file": ("b.txt", b"b")}, data={"metadata": metadata})
        assert response.status_code == 422, metadata


async def test_document_is_renamed_and_labelled(client3: httpx2.AsyncClient) -> None:
    document = await ready(client3, "About tulips.", "draft.txt")
    path = f"/documents/{document['id']}"

    first = await client3.patch(path, json={"metadata": {"year": 2024, "author": "Ada"}, "tags": ["a", "a"]})
    second = await client3.patch(path, json={"metadata": {"author": None}, "filename": "../final.txt"})

    assert (first.json()["filename"], first.json()["tags"]) == ("draft.txt", ["a"])
    assert second.json()["metadata"] == {"year": 2024}
    assert second.json()["tags"] == ["a"]
    assert (await client3.get(path)).json() == second.json()
    (hit,) = await found(client3, "tulips")
    assert (hit["filename"], hit["created_at"]) == ("final.txt", document["created_at"])
    assert (await client3.patch(f"/documents/{uuid4()}", json={})).status_code == 404
    many = {"metadata": {f"n{number}": number for number in range(50)}}
    assert (await client3.patch(path, json=many)).status_code == 422


@pytest.mark.parametrize(
    "body",
    [{"filename": ""}, {"tags": [""]}, {"tags": ["x" * 65]}, {"metadata": {"a": {}}}, {"size_bytes": 1}],
)
async def test_invalid_labels_are_rejected(client3: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    document = await upload(client3)

    assert (await client3.patch(f"/documents/{document['id']}", json=body)).status_code == 422
    assert (await finished(client3, document))["filename"] == "hours.txt"


async def test_list_is_searched_by_name_and_tag(client3: httpx2.AsyncClient) -> None:
    await reports(client3)

    async def listed(**query: str) -> list[str]:
        return [item["filename"] for item in (await client3.get("/documents", params=query)).json()["items"]]

    assert await listed(name="202") == ["2023.txt", "2022.txt", "2021.txt"]
    assert await listed(name="NONE") == ["none.txt"]
    assert await listed(name="%") == []
    assert await listed(tag="a", name="2.txt") == ["2022.txt"]
    assert await listed(filter='{"metadata": {"author": "Ada", "year": {"gte": 2000}}}') == ["2021.txt"]
    assert await listed(filter='{"created_before": "2020-01-01T00:00:00Z"}') == []
    assert await listed(filter='{"tags": ["b", "c"]}', name="3") == ["2023.txt"]
    for wrong in ("{", "[]", '{"tags": "a"}', '{"created_before": "2020-01-01"}'):
        assert (await client3.get("/documents", params={"filter": wrong})).status_code == 422, wrong


async def test_names_and_values_of_metadata_are_listed(client3: httpx2.AsyncClient) -> None:
    ids = await reports(client3)
    long = {"metadata": {"author": "x" * 300}}
    assert (await client3.patch(f"/documents/{ids['none.txt']}", json=long)).status_code == 200
    collection = (await client3.post("/collections", json={"name": "One"})).json()["id"]
    moved = await client3.patch(f"/documents/{ids['2022.txt']}", json={"collection_id": collection})
    assert moved.status_code == 200

    listed = {item.pop("name"): item for item in (await client3.get("/documents/metadata")).json()["items"]}
    params = {"collection_id": collection}
    of_one = (await client3.get("/documents/metadata", params=params)).json()["items"]
    tags = (await client3.get("/documents/tags", params=params)).json()["items"]

    assert list(listed) == ["author", "final", "signed", "year"]
    assert listed["author"] == {"count": 4, "values": ["Ada", "Bob"]}
    assert listed["final"] == {"count": 1, "values": [True]}
    assert sorted(listed["year"]["values"], key=str) == [2021, 2022.5, "2023"]
    assert [(item["name"], item["values"]) for item in of_one] == [
        ("author", ["Bob"]),
        ("signed", ["2022-03-04"]),
        ("year", [2022.5]),
    ]
    assert tags == [{"tag": "a", "count": 1}, {"tag": "b", "count": 1}]


async def test_neighbours_of_a_chunk(client3: httpx2.AsyncClient) -> None:
    document = await ready(client3, "\n\n".join(f"# Tree {i}\n\nTree number {i} has leaves." for i in range(5)), "t.md")
    path = f"/documents/{document['id']}/chunks"
    chunks = (await client3.get(path)).json()["items"]

    async def around(number: int, **query: int) -> list[int]:
        response = await client3.get(f"{path}/{chunks[number]['id']}/neighbours", params=query)
        return [chunk["index"] for chunk in response.json()["items"]]

    assert await around(2) == [1, 2, 3]
    assert await around(0, before=2, after=0) == [0]
    assert await around(3, before=0, after=20) == [3, 4]
    assert (await client3.get(f"{path}/{uuid4()}/neighbours")).status_code == 404


async def test_hits_below_the_lowest_score_are_left_out(client3: httpx2.AsyncClient) -> None:
    await ready(client3, "The heron nests by the river.", "heron.txt")
    await ready(client3, "Stir the soup.", "soup.txt")

    hits = await found(client3, "Where does the heron nest?", min_score=0.5)

    assert [hit["filename"] for hit in hits] == ["heron.txt"]


async def test_follow_up_question_is_understood(client3: httpx2.AsyncClient, model: ScriptedModel) -> None:
    await ready(client3, "The library opens at nine on weekdays. On Sundays it opens at noon.")
    await ready(client3, "Sunday lunch is soup.", "menu.txt")
    model.says("At noon [1].")
    history = [
        {"role": "user", "content": "When does the library open on weekdays?"},
        {"role": "assistant", "content": "At nine [1]."},
    ]

    answer = await ask(client3, "And on Sundays?", history=history)
    await ask(client3, "What is Sunday lunch?", history=history)

    assert [citation["quote"] for citation in answer["citations"]] == ["On Sundays it opens at noon."]
    first, second = ([message["content"] for message in request.body["messages"]] for request in model.requests)
    assert first[1:3] == [turn["content"] for turn in history]
    assert first[3].endswith("Question: When does the library open on weekdays? And on Sundays?")
    assert second[3].endswith("Question: What is Sunday lunch?")


async def test_unanswerable_question_is_refused_in_a_conversation(client3: httpx2.AsyncClient) -> None:
    await ready(client3, "The library opens at nine on weekdays. On Sundays it opens at noon.")
    history = [
        {"role": "user", "content": "When does the library open on weekdays?"},
        {"role": "assistant", "content": "At nine [1]."},
    ]

    alone = await ask(client3, "Which salary gets the mayor?")
    later = await ask(client3, "Which salary gets the mayor?", history=history)

    assert (alone["model"], later["model"]) == (None, None)  # it was not asked
    assert later["citations"] == []


@pytest.mark.parametrize(
    ("question", "refers"),
    [
        ("And on Sundays?", True),
        ("What about books?", True),
        ("How much does it cost?", True),
        ("Why?", True),
        ("What is the salary of the director?", False),
        ("When does the library open?", False),
        ("那周日呢？", True),
        ("它的保修期是多久？", True),
        ("为什么？", True),
        ("公司总经理的工资是多少？", False),
        ("员工应该几点上班？", False),
        ("其他城市的住宿标准是多少？", False),
    ],
)
def test_question_refers_to_the_conversation(question: str, refers: bool) -> None:
    assert refers_back(question) is refers


async def test_tags_are_listed_with_their_counts(client3: httpx2.AsyncClient) -> None:
    first, second, deleted = [await upload(client3, f"Document {number}.", f"{number}.txt") for number in range(3)]
    for document, tags in ((first, ["water", "birds"]), (second, ["birds"]), (deleted, ["gone"])):
        await client3.patch(f"/documents/{document['id']}", json={"tags": tags})
    await client3.delete(f"/documents/{deleted['id']}")

    found = await client3.get("/documents/tags")

    assert found.json() == {"items": [{"tag": "birds", "count": 2}, {"tag": "water", "count": 1}]}
