"""The graph `rag`, and the agent's search: on real documents in a real database."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage

from project3_rag_docs.main import create_app
from project3_rag_docs.search.embedding import create_embedding_model
from project3_rag_docs.search.hits import Hit
from project4_agent_api.agents import rag as of_rag
from project4_agent_api.agents.relevance import Relevance
from shared.errors import ModelUnavailable
from shared.models.client import create_http_client
from tests.project4_agent_api.agents.conftest import Conversation, MakeSettings, Talk, asked, last
from tests.support.databases import Databases
from tests.support.documents import ready
from tests.support.running import running
from tests.support.scripted_model import Behaviour, ScriptedModel, calls, embeds, fails, says

HOURS = "The library opens at nine. It closes at six."


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    with databases.migrated("project4_agent_api") as url:
        yield url


@pytest.fixture
async def documents(agent_settings: MakeSettings, database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of stage 3, which shares the database and ingests."""
    with running(create_app(agent_settings(database_url=database_url))) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            yield http


@pytest.fixture
def rag(talk: Talk, database_url: str) -> Callable[..., Any]:
    """Begins a conversation with `rag`, for which any passage is good unless a test says otherwise."""
    return lambda name="rag", **changes: talk(
        name, **({"database_url": database_url, "rag_min_relevance": -1} | changes)
    )


async def answered(conversation: Conversation, question: str) -> tuple[str, list[dict[str, Any]]]:
    result = await conversation.run(asked(question))
    return last(result["messages"]), result["citations"]


async def test_answer_cites_its_sources(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    document = await ready(documents, HOURS)
    (stored,) = (await documents.get(f"/documents/{document['id']}/chunks")).json()["items"]
    async with rag() as conversation:
        model.says("At nine o'clock [1].")
        text, citations = await answered(conversation, "When does the library open?")
        result = await conversation.run(asked("When does the library open?"))

    assert text == "At nine o'clock [1]."
    assert citations == [
        {
            "marker": 1,
            "document_id": document["id"],
            "filename": "hours.txt",
            "page": None,
            "chunk_id": stored["id"],
            "quote": "The library opens at nine.",
        }
    ]
    assert set(result) == {"messages", "citations"}
    message = result["messages"][-1]
    assert message.usage_metadata["output_tokens"] == 4
    assert message.response_metadata["model_name"] == "scripted-model"


async def test_only_checked_text_is_streamed(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    await ready(documents, HOURS)
    async with rag() as conversation:
        model.says("At nine [1]. That is all.")
        streamed = await conversation.stream(asked("When does the library open?"))
        (thread_answer,) = (await conversation.messages())[1:]

        model.says("In Paris, of course.")
        invented = await conversation.stream(asked("Where is it?"))

    chunks = [message for message, _ in streamed if isinstance(message, AIMessageChunk)]
    assert "".join(chunk.text for chunk in chunks) == "At nine [1]. That is all."
    assert len(chunks) > 1
    assert {chunk.id for chunk in chunks} == {thread_answer.id}
    assert {metadata["langgraph_node"] for _, metadata in streamed} == {"answer"}
    assert "".join(message.text for message, _ in invented) == "The documents do not say."


async def test_only_checked_text_is_streamed_as_events(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    """In the newer protocol of streams, which knows beginnings and ends of messages."""
    await ready(documents, HOURS)
    async with rag() as conversation:
        model.says("At nine [1]. That is all.")
        said = await conversation.events(asked("When does the library open?"))
        model.says("In Paris, of course.")
        invented = await conversation.events(asked("Where is it?"))

    assert said[0]["event"] == "message-start"
    assert said[-1]["event"] == "message-finish"
    assert _words(said) == "At nine [1]. That is all."
    assert _words(invented) == "The documents do not say."


def _words(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"].get("text", "") for event in events if event["event"] == "content-block-delta")


async def test_question_without_relevant_hits_is_rewritten(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    await ready(documents, HOURS)
    async with rag(rag_min_relevance=0.5) as conversation:
        model.then(says("The library opens at nine"), says("At nine [1]."))
        text, citations = await answered(conversation, "Doors?")

    assert text == "At nine [1]."
    assert citations[0]["quote"] == "The library opens at nine."
    rewriting, answering = (seen.body["messages"] for seen in model.requests)
    assert "Write the question as one" in rewriting[0]["content"]
    assert rewriting[1]["content"] == "User: Doors?"
    assert answering[1]["content"].endswith("Question: The library opens at nine")


async def test_follow_up_question_is_rewritten(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    await ready(documents, HOURS)
    async with rag(rag_min_relevance=0.5) as conversation:
        model.then(says("At nine [1]."), says("The library closes at"), says("At six [1]."))
        await answered(conversation, "The library opens at")
        text, _ = await answered(conversation, "And otherwise?")

    assert text == "At six [1]."
    spoken = model.requests[1].body["messages"][1]["content"]
    assert spoken == "User: The library opens at\nAssistant: At nine [1].\nUser: And otherwise?"


@pytest.mark.parametrize(("own", "answer"), [(0.2, "The documents do not say."), (0.4, "At nine [1].")])
async def test_rewritten_question_counts_only_with_the_own_one(
    documents: httpx2.AsyncClient,
    rag: Callable[..., Any],
    model: ScriptedModel,
    monkeypatch: pytest.MonkeyPatch,
    own: float,
    answer: str,
) -> None:
    """The mean of .4 and .9 reaches the minimum of .5; that of .2 and .9 does not."""
    await ready(documents, HOURS)
    scores = iter([own, 0.9])
    monkeypatch.setattr(of_rag, "best_score", lambda _: next(scores))
    async with rag(rag_max_rewrites=1, answer_min_score=0.5) as conversation:
        model.then(says("The library opens at nine"), says("At nine [1]."))
        text, _ = await answered(conversation, "Doors?")

    assert text == answer


async def test_run_of_an_earlier_release_is_resumed(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stored state has no `own_score`, which is then measured."""
    await ready(documents, HOURS)
    scores = iter([0.9, 0.4])
    monkeypatch.setattr(of_rag, "best_score", lambda _: next(scores))
    async with rag(answer_min_score=0.5) as conversation:
        state = {"question": "Doors?", "query": "The library opens at nine", "rewrites": 1, "asked": ""}
        state |= {"found": [], "passages": [], "citations": [], "relevance": -3.0}
        await conversation.update(asked("Doors?") | state, as_node="rewrite")
        model.says("At nine [1].")
        result = await conversation.run(None)

    assert last(result["messages"]) == "At nine [1]."


@pytest.mark.parametrize("rewrites", [0, 1, 3])
async def test_rewrites_are_limited(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel, rewrites: int
) -> None:
    """And then the best that was found is answered from after all: a low grade costs a search, not the answer."""
    await ready(documents, HOURS)
    async with rag(rag_min_relevance=1, rag_max_rewrites=rewrites) as conversation:
        model.then(*[says(f"Something else {i}?") for i in range(rewrites)], says("At nine [1]."))
        text, _ = await answered(conversation, "When does the library open?")

    assert text == "At nine [1]."
    assert len(model.requests) == rewrites + 1
    assert model.requests[-1].body["messages"][1]["content"].endswith("Question: When does the library open?")


async def test_no_model_call_without_hits(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    del documents
    async with rag(rag_max_rewrites=0) as conversation:
        assert await answered(conversation, "Anything?") == ("The documents do not say.", [])
        assert await answered(conversation, "有吗？") == ("文档中没有提到。", [])
        assert (await answered(conversation, "  "))[0].startswith("Ask something")
        assert last((await conversation.run({"messages": []}))["messages"]).startswith("Ask something")
    assert model.requests == []


async def test_earlier_citations_do_not_leak_into_the_next_answer(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    document = await ready(documents, HOURS)
    async with rag(rag_max_rewrites=0) as conversation:
        model.says("At nine [1].")
        assert (await answered(conversation, "When does it open?"))[1]
        await documents.delete(f"/documents/{document['id']}")

        assert await answered(conversation, "When does it open?") == ("The documents do not say.", [])


async def test_model_grades_if_configured(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    await ready(documents, HOURS)
    async with rag(rag_grader="model") as conversation:
        model.then(says('{"relevant": false}'), says("Other words"), says('{"relevant": true}'), says("At nine [1]."))
        text, _ = await answered(conversation, "Doors?")

    assert text == "At nine [1]."
    grading = model.requests[0].body
    assert grading["response_format"]["type"] == "json_schema"
    assert "The library opens at nine." in grading["messages"][1]["content"]
    assert model.requests[3].body["messages"][1]["content"].endswith("Question: Other words")


@pytest.mark.parametrize("grade", [says("Yes, I think so."), says("{}"), says(""), fails(500)])
async def test_invalid_grade_falls_back_to_scores(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel, grade: Behaviour
) -> None:
    await ready(documents, HOURS)
    async with rag(rag_grader="model") as conversation:
        model.then(grade, says("At nine [1]."))
        text, _ = await answered(conversation, "When does the library open?")

    assert text == "At nine [1]."


async def test_answers_use_the_callers_documents_only(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    await ready(documents, HOURS)
    for name in ("rag", "agent"):
        async with rag(name, rag_max_rewrites=0) as conversation:
            conversation.owner_id = uuid4()
            model.then(calls(("search_documents", '{"query": "library"}')), says("Nothing."))
            result = await conversation.run(asked("When does the library open?"))
            assert "nine" not in str([message.content for message in result["messages"]])
            assert "nine" not in str([seen.body for seen in model.requests])


async def test_unavailable_embedding_model_fails_the_run(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    await ready(documents, HOURS)
    model.embeds(fails(500))
    async with rag() as conversation:
        with pytest.raises(ModelUnavailable):
            await answered(conversation, "When does the library open?")

        model.embeds(embeds())
        model.says("At nine [1].")
        assert (await answered(conversation, "When does the library open?"))[0] == "At nine [1]."


async def test_agent_searches_number_their_passages(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    await ready(documents, HOURS)
    await ready(documents, "The pool is open in summer. It costs five euros.", "pool.txt")
    search = ("search_documents", '{"query": "when does the library open"}')
    async with rag("agent") as conversation:
        model.then(calls(search), says("At nine [1]."), calls(search, search), says("Still at nine [3]."))
        await conversation.say("When does the library open?")
        _, first, second, _ = await conversation.say("Look again, twice.")
        results = [message for message in await conversation.messages() if isinstance(message, ToolMessage)]

    numbers = [[one["marker"] for one in result.artifact["citations"]] for result in results]
    assert numbers == [[1, 2], [3, 4], [9, 10]]
    citation = results[0].artifact["citations"][0]
    assert set(citation) == {"marker", "document_id", "filename", "page", "chunk_id", "quote"}
    assert (citation["filename"], citation["quote"]) == ("hours.txt", "The library opens at nine.")
    assert str(UUID(citation["chunk_id"])) == citation["chunk_id"]
    assert '<passage number="3" source="hours.txt">' in first.text
    assert '<passage number="9" source="hours.txt">' in second.text


async def test_failed_search_is_reported_to_the_agent(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel
) -> None:
    await ready(documents, HOURS)
    model.embeds(fails(500))
    async with rag("agent") as conversation:
        model.then(calls(("search_documents", '{"query": "library"}')), says("The search is unavailable."))
        _, result, answer = await conversation.say("When does the library open?")

    assert isinstance(result, ToolMessage)
    assert result.status == "error"
    assert "The model endpoint failed." in result.text
    assert isinstance(answer, AIMessage)
    assert answer.text == "The search is unavailable."


async def test_relevance_is_relative_to_unrelated_text(agent_settings: MakeSettings, model: ScriptedModel) -> None:
    settings = agent_settings()
    http = create_http_client(settings)
    relevance = Relevance(create_embedding_model(settings, http), "query: ", "passage: ")
    question = "When does the library open?"
    hit = Hit(uuid4(), uuid4(), "a.txt", None, None, "text", 1.0, similarity=1.0)

    same = await relevance.measure(question, [replace(hit, similarity=0.1), hit])
    near = await relevance.measure(question, [replace(hit, similarity=0.6)])
    usual = await relevance.measure(question, [replace(hit, similarity=0.2)])
    await http.aclose()

    assert same == pytest.approx(1)
    assert same > near > usual
    assert await relevance.measure(question, []) == 0
    assert await relevance.measure(question, [replace(hit, similarity=None)]) == 0
    assert len([seen for seen in model.embedded if len(seen.body["input"]) > 1]) == 1  # the usual texts, once


@pytest.mark.parametrize("way", ["run", "stream", "events"])
async def test_reasoning_is_stored_apart_and_not_cited(
    documents: httpx2.AsyncClient, rag: Callable[..., Any], model: ScriptedModel, way: str
) -> None:
    await ready(documents, HOURS)
    reasoning = "It closes at six [1]."
    async with rag() as conversation:
        for text in (f"<think>{reasoning}</think>", f"{reasoning}\n</think>\n\n"):
            model.says(text + "At nine o'clock [1].")
            await getattr(conversation, way)(asked("When does the library open?"))
            answer = (await conversation.messages())[-1]

            assert (answer.content, answer.additional_kwargs) == (
                "At nine o'clock [1].",
                {"reasoning_content": reasoning},
            )
