"""The part of a conversation that the model receives."""

from uuid import uuid4

from project2_user_mgmt.conversation import count_tokens, prompt
from project2_user_mgmt.models import Message, Role


def conversation(turns: int) -> list[Message]:
    """A conversation of questions of 40 characters and answers as long."""
    roles = [Role.USER, Role.ASSISTANT] * turns
    return [Message(user_id=uuid4(), role=role, content=f"{place:040}") for place, role in enumerate(roles)]


def test_conversation_is_trimmed_to_start_with_a_question() -> None:
    history = conversation(turns=10)

    shown = prompt("Be brief.", history, "And now?", context_tokens=50)

    kept = shown[1:-1]
    assert [message.type for message in shown] == ["system", "human", "ai", "human"]
    assert (shown[0].text, shown[-1].text) == ("Be brief.", "And now?")
    assert [message.text for message in kept] == [message.content for message in history[-2:]]
    assert count_tokens(kept) <= 50


def test_question_is_sent_with_any_context_size() -> None:
    shown = prompt("Be brief.", conversation(turns=1), "And now?", context_tokens=1)

    assert [message.text for message in shown] == ["Be brief.", "And now?"]
