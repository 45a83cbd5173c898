"""The chapter `vectors` of stage 3: vector-only retrieval, end to end."""

from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from project3_rag_docs.chapters.vectors import create_app, split
from project3_rag_docs.settings import Settings
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

REFUNDS = "Refunds\n\nAny article may be sent back within 45 days.\n\n" + "Parcels leave on weekdays. " * 30


@pytest.fixture
async def http(make_settings3: Callable[..., Settings]) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the chapter."""
    with running(create_app(make_settings3())) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
            yield client


async def test_answer_cites_the_passages_it_was_given(http: httpx2.AsyncClient, model: ScriptedModel) -> None:
    stored = (await http.put("/texts/shop", json={"text": REFUNDS})).json()
    found = (await http.post("/texts/search", json={"question": "sent back within 45 days", "k": 1})).json()
    model.says("Within 45 days [1], or never [9].")
    answer = (await http.post("/texts/ask", json={"question": "sent back within 45 days", "k": 2})).json()

    assert stored == {"name": "shop", "passages": 2}
    assert "45 days" in found[0]["content"]
    assert answer["answer"] == "Within 45 days [1], or never [9]."
    assert {marker: passage["number"] for marker, passage in answer["citations"].items()} == {"1": found[0]["number"]}
    system, question = model.requests[-1].body["messages"]
    assert "quoted material" in system["content"]
    assert question["content"].startswith(f"[1] {found[0]['content']}")


async def test_text_is_replaced_under_its_name(http: httpx2.AsyncClient) -> None:
    await http.put("/texts/shop", json={"text": REFUNDS})
    await http.put("/texts/shop", json={"text": "Closed."})
    found = (await http.post("/texts/search", json={"question": "refunds", "k": 20})).json()

    assert [(passage["name"], passage["content"]) for passage in found] == [("shop", "Closed.")]


async def test_question_without_texts_needs_no_model(http: httpx2.AsyncClient, model: ScriptedModel) -> None:
    answer = (await http.post("/texts/ask", json={"question": "Anything?"})).json()

    assert answer == {"answer": "The texts do not say.", "citations": {}}
    assert model.requests == []


async def test_earlier_stages_are_served_and_blank_texts_are_not(http: httpx2.AsyncClient) -> None:
    users = await http.get("/users")
    blank = await http.put("/texts/shop", json={"text": " \n"})

    assert (users.status_code, blank.status_code) == (200, 422)


@pytest.mark.parametrize(
    ("content", "passages"),
    [
        ("one\n\ntwo", ["one\ntwo"]),
        ("a" * 25, ["a" * 10, "a" * 10, "a" * 5]),
        ("A one. B two. C six.", ["A one.", "B two.", "C six."]),
        ("第一个句子。第二句。三", ["第一个句子。", "第二句。\n三"]),
    ],
)
def test_passages_end_with_paragraphs_and_sentences(content: str, passages: list[str]) -> None:
    assert split(content, 10) == passages
