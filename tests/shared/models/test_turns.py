"""Conversations in the form that every endpoint accepts."""

from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.models.turns import in_turns, use_portable_ids
from tests.support.scripted_model.profiles import STRICTEST


def user(content: object) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: object, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content} | fields


def system(content: str) -> dict[str, Any]:
    return {"role": "system", "content": content}


def calling(*ids: str) -> list[dict[str, Any]]:
    function = {"name": "calculator", "arguments": "{}"}
    calls = [{"id": call_id, "type": "function", "function": function} for call_id in ids]
    return [
        assistant(None, tool_calls=calls),
        *({"role": "tool", "content": "4", "tool_call_id": call_id} for call_id in ids),
    ]


@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        ([user("a"), user("b")], [user("a\n\nb")]),
        ([user("a"), user([{"type": "image_url"}])], [user([{"type": "text", "text": "a"}, {"type": "image_url"}])]),
        ([user("a"), assistant("b"), assistant("c"), user("d")], [user("a"), assistant("b\n\nc"), user("d")]),
        ([system("a"), user("b"), system("c")], [system("a\n\nc"), user("b")]),
        ([user("a"), assistant(""), user("b")], [user("a\n\nb")]),
        ([user(""), assistant("b"), user("c")], [user("(no text)"), assistant("b"), user("c")]),
        (
            [assistant("a"), user("b")],
            [user("(The beginning of the conversation is missing.)"), assistant("a"), user("b")],
        ),
        ([user("a"), assistant("b")], [user("a"), assistant("b"), user("Continue.")]),
        ([system("a")], [system("a"), user("Continue.")]),
        (
            [user("a"), *calling("c1"), user("b")],
            [user("a"), *calling("c1"), assistant("I was stopped before I could answer."), user("b")],
        ),
        (
            [user("a"), assistant("b"), *calling("c1")],
            [user("a"), assistant("b") | calling("c1")[0] | {"content": "b"}, calling("c1")[1]],
        ),
    ],
)
def test_messages_are_sent_in_turns(messages: list[dict[str, Any]], sent: list[dict[str, Any]]) -> None:
    assert in_turns(messages) == sent


def test_usual_conversation_is_sent_unchanged() -> None:
    messages = [system("a"), user("b"), *calling("abcdefgh1", "abcdefgh2"), assistant("c"), user("d")]
    use_portable_ids(messages)
    assert in_turns(messages) == messages


_MESSAGES = st.one_of(
    st.sampled_from(["", "a"]).map(user),
    st.sampled_from(["", "a"]).map(assistant),
    st.just(system("s")),
    st.sampled_from([["c:0"], ["call_1", "call_2"], [""]]).map(lambda ids: calling(*ids)),
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(_MESSAGES, min_size=1, max_size=10))
def test_strictest_endpoint_accepts_any_conversation(parts: list[Any]) -> None:
    messages = []
    for place, part in enumerate(parts):
        for message in part if isinstance(part, list) else [part]:
            for call in message.get("tool_calls") or []:
                call["id"] += str(place)
            number = {"tool_call_id": f"{message['tool_call_id']}{place}"} if "tool_call_id" in message else {}
            messages.append(message | number)
    use_portable_ids(messages)
    assert [str(violation) for violation in STRICTEST.check({"model": "m", "messages": in_turns(messages)})] == []


def test_many_neighbouring_messages_do_not_block_the_event_loop() -> None:
    started = process_time()

    (message,) = in_turns([user("x" * 1_000)] * 4_000)

    assert len(message["content"]) == 4_000 * 1_002 - 2
    assert process_time() - started < 1  # 0.005 in practice; 4 if the text is copied for each message
