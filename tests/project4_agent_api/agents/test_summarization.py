"""Long threads: they stay within what the model is shown, and keep what their notes should keep."""

import re

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from project4_agent_api.agents.summarization import count_tokens, truncate
from shared.errors import ModelUnavailable
from tests.project4_agent_api.agents.conftest import Conversation, Talk, asked, last
from tests.support.scripted_model import Connection, ScriptedModel, calls, fails, says

_FACT = re.compile(r"my [a-z]+ is [A-Z][a-z]+-\d+")


def takes_notes(connection: Connection) -> bool:
    return str(connection.seen.body["messages"][0]["content"]).startswith("You keep the notes")


async def answers_and_takes_notes(connection: Connection) -> None:
    """Summarize every fact, as a good model would, and answer everything else."""
    messages = connection.seen.body["messages"]
    if takes_notes(connection):
        await says("\n".join(dict.fromkeys(_FACT.findall(messages[-1]["content"]))) or "Nothing of note.")(connection)
    else:
        await says("I see. " + "That is good to know. " * 8)(connection)


@pytest.mark.parametrize("filler", ["and it rained all day long. ", "昨天一整天都在下雨。"])
async def test_two_hundred_turns_stay_within_the_context(talk: Talk, model: ScriptedModel, filler: str) -> None:
    limit = 2000
    facts = {3: "my cat is Mia-1", 77: "my street is Elmway-22", 140: "my boat is Orca-333"}
    async with talk(agent_context_tokens=limit) as conversation:
        model.does(answers_and_takes_notes)
        for turn in range(200):
            assert last(await conversation.say(f"Turn {turn}: {facts.get(turn, '')} {filler * 4}")).startswith("I see.")
        thread = await conversation.messages()

    notes = [seen for seen in model.requests if seen.body["messages"][0]["content"].startswith("You keep the notes")]
    answers = [seen for seen in model.requests if seen not in notes]
    assert len(answers) == 200
    assert 5 < len(notes) < 60
    sizes = [_size(seen.body["messages"]) for seen in model.requests]
    assert max(sizes) < limit * 1.2  # the instructions precede the counted messages
    shown = "\n".join(message["content"] for message in answers[-1].body["messages"])
    assert all(fact in shown for fact in facts.values())
    assert "Turn 199" in shown
    assert "Turn 198" in shown
    assert count_tokens(thread) < limit
    assert all("tools" not in seen.body for seen in notes)


async def test_summary_is_not_streamed(talk: Talk, model: ScriptedModel) -> None:
    async with talk(agent_context_tokens=1000) as conversation:
        model.does(answers_and_takes_notes)
        said = []
        for turn in range(12):
            said += await conversation.stream(asked(f"Turn {turn}: my cat is Mia-1 " + "and it rained. " * 20))

    assert any(seen.body["messages"][0]["content"].startswith("You keep") for seen in model.requests)
    words = "".join(message.text for message, _ in said if isinstance(message, AIMessage))
    assert "I see." in words
    assert "Mia" not in words


async def test_tool_call_and_result_stay_together(talk: Talk, model: ScriptedModel) -> None:
    async def works(connection: Connection) -> None:
        if takes_notes(connection):
            await says("Sums were done.")(connection)
        elif connection.seen.body["messages"][-1]["role"] == "tool":
            await says("There you are. " * 10)(connection)
        else:
            await calls(("calculator", '{"expression": "6 * 7"}'), ("calculator", '{"expression": "1 + 1"}'))(
                connection
            )

    async with talk(agent_context_tokens=1000) as conversation:
        model.does(works)
        for turn in range(30):
            await conversation.say(f"Turn {turn}: two sums. " + "Be quick. " * 10)

    for seen in model.requests:
        called = [call["id"] for message in seen.body["messages"] for call in message.get("tool_calls", [])]
        told = [message["tool_call_id"] for message in seen.body["messages"] if message["role"] == "tool"]
        assert called == told


async def test_empty_summary_keeps_the_transcript(talk: Talk, model: ScriptedModel) -> None:
    async def mute(connection: Connection) -> None:
        await (says("") if takes_notes(connection) else says("I see."))(connection)

    async with talk(agent_context_tokens=1000) as conversation:
        model.does(mute)
        await conversation.say("My cat is Mia-1.")
        for turn in range(9):
            await conversation.say(f"Turn {turn}: " + "it rained. " * 30)
            if any("Here is a summary" in str(seen.body["messages"]) for seen in model.requests):
                break

    assert "Here is a summary" in str(model.requests[-1].body["messages"])
    assert "Mia-1" in str(model.requests[-1].body["messages"])


async def test_failed_summary_leaves_the_thread_unchanged(talk: Talk, model: ScriptedModel) -> None:
    async def away(connection: Connection) -> None:
        await (fails(500) if takes_notes(connection) else says("I see."))(connection)

    async with talk(agent_context_tokens=1000) as conversation:
        model.does(away)
        with pytest.raises(ModelUnavailable):
            await _until_notes_are_taken(conversation)
        before = await conversation.messages()

        model.does(answers_and_takes_notes)
        assert last(await conversation.say("And now?")).startswith("I see.")

    assert before[0].text.startswith("Turn 0")


async def test_fallback_model_writes_the_summary(talk: Talk, model: ScriptedModel) -> None:
    async def first_is_away(connection: Connection) -> None:
        await (fails(500) if connection.seen.body["model"] == "m" else answers_and_takes_notes)(connection)

    async with talk(agent_context_tokens=1000, llm_fallback_models="second") as conversation:
        model.does(first_is_away)
        for turn in range(10):
            assert last(await conversation.say(f"Turn {turn}: " + "it rained. " * 30)).startswith("I see.")

    assert any(takes_notes_in(seen.body) and seen.body["model"] == "second" for seen in model.requests)


async def _until_notes_are_taken(conversation: Conversation) -> None:
    for turn in range(30):
        await conversation.say(f"Turn {turn}: " + "it rained. " * 30)


def takes_notes_in(body: dict[str, object]) -> bool:
    return "You keep the notes" in str(body["messages"])


def test_tokens_of_calls_are_counted() -> None:
    plain = AIMessage("Let me see.")
    calling = AIMessage("Let me see.", tool_calls=[{"name": "f", "args": {"text": "word " * 100}, "id": "1"}])

    assert count_tokens([calling]) > count_tokens([plain]) + 100
    assert count_tokens([HumanMessage("雨" * 100)]) > 2 * count_tokens([HumanMessage("r" * 100)])


def test_text_is_truncated_to_its_tokens() -> None:
    assert truncate("short", 100) == "short"
    for text in ("word " * 1000, "雨" * 1000):
        cut = truncate(text, 100)
        assert cut.endswith(" […]")
        assert 80 < count_tokens([ToolMessage(cut, tool_call_id="1")]) < 120


def _size(messages: list[dict[str, str]]) -> int:
    return count_tokens([HumanMessage(message["content"] or "") for message in messages])
