"""Each kind of endpoint with each way to ask it: the same conversation, in the endpoint's own forms.

docs/models.md has the table of what works with which; these tests hold it.
"""

from typing import Any

import httpx2
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage

from shared.errors import InputFilteredByModel, InputTooLongForModel
from tests.project4_agent_api.agents.conftest import Conversation, Talk, asked
from tests.support.scripted_model import Profile, ScriptedModel
from tests.support.sse import events_in

ANSWER = "At nine o'clock [1]."
THOUGHT = "The passage says when it opens."
QUESTION = "When does the library open?"
# What an endpoint refuses of any request of ours, once: the service learns it.
LEARNED = {"mistral": {"stream_options"}}


def stream(http: httpx2.Client, path: str, **body: Any) -> list[tuple[str, Any]]:
    response = http.post(path, json=body)
    assert response.status_code == 200, response.text
    return events_in(response.text)


def text_of(events: list[tuple[str, Any]], name: str = "token") -> str:
    return "".join(data["text"] for kind, data in events if kind == name)


def refused(model: ScriptedModel) -> set[str]:
    """Return the names of the parameters that the endpoint has refused, and forget them."""
    names = [str(violation.param or violation.message).rpartition("/")[2] for violation in model.violations]
    assert len(names) == len(set(names)), model.violations
    model.violations.clear()
    return set(names)


def shown_reasoning(profile: Profile) -> str | None:
    return THOUGHT if profile.wire.reasoning else None


class TestAnswers:
    def test_answer_is_whole(self, http: httpx2.Client, model: ScriptedModel, profile: Profile) -> None:
        model.does(profile.wire.answers(ANSWER, reasoning=THOUGHT))

        response = http.post("/ask", json={"question": QUESTION, "reasoning": True, "temperature": 0.5})

        body = response.json()
        assert response.status_code == 200, body
        assert body["answer"] == ANSWER
        assert (body.get("reasoning") or "").strip() == (shown_reasoning(profile) or "")
        assert body["usage"] == {"input_tokens": 7, "output_tokens": 5}
        assert not model.violations

    def test_answer_is_streamed(self, http: httpx2.Client, model: ScriptedModel, profile: Profile) -> None:
        model.does(profile.wire.answers(ANSWER, reasoning=THOUGHT))
        http.post("/ask", json={"question": QUESTION})  # models that never open their reasoning show it only now

        first = stream(http, "/ask/stream", question=QUESTION, reasoning=True)
        assert refused(model) <= LEARNED.get(profile.name, set())
        second = stream(http, "/ask/stream", question=QUESTION, reasoning=True)

        for events in (first, second):
            assert text_of(events) == ANSWER
            assert text_of(events, "reasoning").strip() == (shown_reasoning(profile) or "")
            usage = {"input_tokens": 7, "output_tokens": 5} if profile.wire.usage else None
            assert events[-1][1]["usage"] == usage
            assert events[-1][1]["finish_reason"] == "stop"

    @pytest.mark.parametrize("way", ["ask", "ask/stream"])
    def test_limits_reach_the_endpoint(
        self, http: httpx2.Client, model: ScriptedModel, profile: Profile, way: str
    ) -> None:
        model.does(profile.wire.answers(ANSWER))

        response = http.post(f"/{way}", json={"question": QUESTION, "max_tokens": 50, "temperature": 0.5})

        assert response.status_code == 200, response.text
        sent = model.requests[-1].body
        assert (sent.get("max_tokens") or sent["max_completion_tokens"], sent["temperature"]) == (50, 0.5)
        assert profile.name != "ollama" or sent["max_tokens"] == 50  # it ignores the other name
        assert refused(model) <= LEARNED.get(profile.name, set()) | {"max_completion_tokens"}

    def test_documents_answer_cites(self, http: httpx2.Client, model: ScriptedModel, profile: Profile) -> None:
        model.does(profile.wire.answers(ANSWER, reasoning=f"{THOUGHT} It is passage [1]."))

        whole = http.post("/documents/ask", json={"question": QUESTION})
        events = stream(http, "/documents/ask/stream", question=QUESTION)

        assert whole.json()["answer"] == text_of(events) == ANSWER
        for citations in (whole.json()["citations"], events[-1][1]["citations"]):
            assert [citation["quote"] for citation in citations] == ["The library opens at nine."]
        assert refused(model) <= LEARNED.get(profile.name, set())


class TestAgents:
    """A call, two calls at once, an answer, and a second turn: whole, and streamed."""

    def script(self, model: ScriptedModel, profile: Profile) -> None:
        answers = profile.wire.answers
        model.then(
            answers("", ("calculator", '{"expression": "6 * 7"}'), reasoning="I calculate."),
            answers(
                "Now two more.",
                ("calculator", '{"expression": "1 + 1"}'),
                ("calculator", '{"expression": "3 * 3"}'),
                reasoning="Two at once.",
            ),
            answers("", ("calculator", '{"expression": "6 * 7"}')),
            answers("It is 42, 2 and 9.", reasoning="I have all."),
            answers("You are welcome.", reasoning="How polite."),
        )

    async def check(self, conversation: Conversation, model: ScriptedModel, profile: Profile) -> None:
        messages = await conversation.messages()
        replies = [message for message in messages if isinstance(message, AIMessage)]
        assert [message.text for message in messages if isinstance(message, ToolMessage)] == ["42", "2", "9", "42"]
        assert [reply.text for reply in replies] == ["", "Now two more.", "", "It is 42, 2 and 9.", "You are welcome."]
        thoughts = [str(reply.additional_kwargs.get("reasoning_content", "")).strip() for reply in replies]
        wanted = ["I calculate.", "Two at once.", "", "I have all.", "How polite."]
        assert thoughts == (wanted if profile.wire.reasoning else [""] * 5)
        ids = [call["id"] for reply in replies for call in reply.tool_calls]
        assert len(set(ids)) == 4
        assert len(model.requests) == 5 + len(refused(model) & LEARNED.get(profile.name, set()))

    async def test_agent_calls_tools(self, talk: Talk, model: ScriptedModel, profile: Profile) -> None:
        self.script(model, profile)
        async with talk() as conversation:
            await conversation.run(asked("What is six times seven?"))
            await conversation.run(asked("Thanks."))
            await self.check(conversation, model, profile)

    async def test_streamed_agent_calls_tools(self, talk: Talk, model: ScriptedModel, profile: Profile) -> None:
        self.script(model, profile)
        async with talk() as conversation:
            streamed = await conversation.stream(asked("What is six times seven?"))
            streamed += await conversation.stream(asked("Thanks."))
            await self.check(conversation, model, profile)

        if profile.wire.reasoning != "no opening think":  # only the end of its first answer shows its reasoning
            chunks = "".join(message.text for message, _ in streamed if isinstance(message, AIMessageChunk))
            assert chunks == "Now two more.It is 42, 2 and 9.You are welcome."

    async def test_rag_grades_and_cites(
        self, talk: Talk, model: ScriptedModel, profile: Profile, http: httpx2.Client, database_url: str
    ) -> None:
        del http  # it has the document
        model.then(
            profile.wire.answers('{"relevant": true}', reasoning="It fits."),
            profile.wire.answers(ANSWER, reasoning=THOUGHT),
        )
        async with talk("rag", database_url=database_url, rag_grader="model") as conversation:
            result = await conversation.run(asked(QUESTION))

        assert result["messages"][-1].text == ANSWER
        assert [citation["quote"] for citation in result["citations"]] == ["The library opens at nine."]
        names = refused(model)
        assert names <= LEARNED.get(profile.name, set()) | {"This response_format type is unavailable now"}


class TestRefusals:
    @pytest.mark.parametrize("path", ["/ask", "/ask/stream", "/documents/ask", "/documents/ask/stream"])
    @pytest.mark.parametrize("kind", ["too_long", "filtered"])
    def test_refused_input_is_the_callers(
        self, http: httpx2.Client, model: ScriptedModel, profile: Profile, path: str, kind: str
    ) -> None:
        violation = getattr(profile, kind)
        if violation is None:
            return
        model.does(profile.refuses(violation))

        response = http.post(path, json={"question": QUESTION})

        problem = response.json() if response.status_code != 200 else events_in(response.text)[-1][1]
        wanted = {"too_long": "urn:problem:input-too-long", "filtered": "urn:problem:input-filtered"}[kind]
        assert (problem["type"], problem["status"]) == (wanted, 422)
        assert len(model.requests) == 1

    @pytest.mark.parametrize("text", ["", "The library"])
    def test_refusal_inside_a_stream(
        self, http: httpx2.Client, model: ScriptedModel, profile: Profile, text: str
    ) -> None:
        model.does(profile.wire.fails_in_stream(profile.error(profile.too_long), text))

        response = http.post("/ask/stream", json={"question": QUESTION})

        assert response.status_code == (200 if text else 422), response.text
        problem = events_in(response.text)[-1][1] if text else response.json()
        assert (problem["type"], problem["status"]) == ("urn:problem:input-too-long", 422)

    async def test_run_fails_with_the_reason(self, talk: Talk, model: ScriptedModel, profile: Profile) -> None:
        async with talk() as conversation:
            model.does(profile.refuses(profile.too_long))
            with pytest.raises(InputTooLongForModel):
                await conversation.run(asked("What is six times seven?"))
            if profile.filtered:
                model.does(profile.refuses(profile.filtered))
                with pytest.raises(InputFilteredByModel):
                    await conversation.stream(asked("What is six times seven?"))

    async def test_withheld_answer_is_explained(self, talk: Talk, model: ScriptedModel, profile: Profile) -> None:
        if not profile.filters:
            return
        async with talk() as conversation:
            model.does(profile.wire.answers("", finish_reason="content_filter"))
            result = await conversation.run(asked("What is six times seven?"))

        assert "withheld" in result["messages"][-1].text

    def test_unsupported_parameter_is_left_out(
        self, http: httpx2.Client, model: ScriptedModel, profile: Profile
    ) -> None:
        if profile.refused is None:
            return
        model.profile = profile.refusing("temperature", "stream_options")
        model.does(profile.wire.answers(ANSWER))

        for _ in range(2):
            events = stream(http, "/ask/stream", question=QUESTION, temperature=0.5)
            assert text_of(events) == ANSWER

        assert len(model.requests) <= 4
        assert not {"temperature", "stream_options"} & model.requests[-1].body.keys()
        model.violations.clear()
