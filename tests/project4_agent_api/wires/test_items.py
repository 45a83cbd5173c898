"""Conversion of runs' events into the items that the protocols for clients share."""

from collections.abc import AsyncIterator
from typing import Any

import orjson

from project4_agent_api.events.ids import Event, EventId
from project4_agent_api.wires.agui.events import EventWriter
from project4_agent_api.wires.items import Ended, Item, Text, ToolCall, Usage, read_items, read_state
from project4_agent_api.wires.messages import last_turn, to_messages
from project4_agent_api.wires.openai.conversation_items import to_items


def piece(id_: str, text: str, *, last: bool = False, **more: Any) -> tuple[str, Any]:
    message = {"type": "AIMessageChunk", "id": id_, "content": text, "chunk_position": "last" if last else None}
    return "messages", [message | more, {}]


def called(id_: str, name: str | None, arguments: str) -> dict[str, Any]:
    return {"tool_call_chunks": [{"index": 0, "id": id_, "name": name, "args": arguments}]}


async def read(*events: tuple[str, Any], end: bytes = b"success\n{}") -> list[Item]:
    async def given() -> AsyncIterator[Event]:
        for number, (name, data) in enumerate(events, 1):
            yield Event(EventId(1, number), name, orjson.dumps(data))
        yield Event(EventId(1, len(events) + 1), "end", end)

    return [item async for item in read_items(given())]


async def test_messages_streamed_at_the_same_time_follow_one_another() -> None:
    items = await read(
        piece("a", "A1 "),
        piece("b", "B1 ", **called("1", "left", '{"x"')),
        piece("a", "A2", **called("2", "right", "{}")),
        piece("b", "B2", last=True, **called("", None, ": 1}")),
        piece("a", "", last=True),
        piece("c", "C"),
    )
    assert [item for item in items if isinstance(item, Text | ToolCall)] == [
        Text("a", "A1 "),
        Text("a", "A2"),
        ToolCall("a", "2", "right", "{}"),
        Text("b", "B1 "),
        Text("b", "B2"),
        ToolCall("b", "1", "left", '{"x": 1}'),
        Text("c", "C"),
    ]


async def test_usage_of_all_pieces_is_counted_once() -> None:
    usage = {"input_tokens": 7, "output_tokens": 0}
    whole = {"type": "ai", "id": "a", "content": "Hi", "usage_metadata": {"input_tokens": 7, "output_tokens": 2}}
    items = await read(
        piece("a", "Hi", usage_metadata=usage),
        piece("a", "", last=True, usage_metadata={"input_tokens": 0, "output_tokens": 2}),
        ("values", {"messages": []}),
        ("values", {"messages": [whole]}),
    )
    assert [item for item in items if isinstance(item, Usage)] == [Usage(7, 0, 0, 0), Usage(0, 2, 0, 0)]
    assert [item for item in items if isinstance(item, Text)] == [Text("a", "Hi")]


async def test_calls_of_a_growing_message_wait_until_it_is_whole() -> None:
    growing = {"type": "ai", "id": "a", "content": "Su", "tool_calls": [{"id": "1", "name": "f", "args": {}}]}
    whole = growing | {"content": "Sure.", "tool_calls": [{"id": "1", "name": "f", "args": {"x": 1}}]}
    items = await read(
        ("values", {"messages": []}), ("messages/partial", [growing]), ("values", {"messages": [growing | whole]})
    )
    assert [item for item in items if isinstance(item, Text | ToolCall)] == [
        Text("a", "Su"),
        Text("a", "re."),
        ToolCall("a", "1", "f", '{"x":1}'),
    ]


async def test_answer_that_was_not_streamed_comes_with_the_end() -> None:
    state = {"messages": [{"type": "human", "id": "1", "content": "Hi"}, {"type": "ai", "id": "2", "content": "Ho"}]}
    *others, ended = await read(end=b"success\n" + orjson.dumps(state))
    assert others == [Text("2", "Ho")]
    assert isinstance(ended, Ended)
    assert ended.error is None


# A graph may store anything under `messages`.
ODD_MESSAGES: list[Any] = [
    5,
    {"type": "ai", "content": "no id"},
    {"id": "no type"},
    {"id": 7, "type": "ai", "content": "no text as an id"},
    {"id": "h", "role": "user", "content": None},
    {
        "id": "c",
        "type": "ai",
        "tool_calls": [{"name": 1}, {"name": "add"}, "x"],
        "usage_metadata": {"input_tokens": "1"},
    },
    {"id": "t", "type": "tool", "content": 5, "tool_call_id": None, "artifact": {"citations": 7}, "name": []},
    {"id": "a", "role": "assistant", "content": [{"type": "text", "text": "Hi"}, 3], "additional_kwargs": "x"},
]


def test_odd_messages_of_a_state_are_left_out_or_read_in_part() -> None:
    messages = to_messages(ODD_MESSAGES)
    items = list(read_state({}, {"messages": ODD_MESSAGES, "citations": 5}, ()))
    answers = [item for item in to_items(ODD_MESSAGES, "talk") if item["type"] != "mcp_call"]
    snapshot: Any = list(EventWriter("thread", "run").begin(ODD_MESSAGES))[1]

    assert [message["id"] for message in messages] == ["h", "c", "t", "a"]
    assert [message["id"] for message in last_turn(messages)] == ["h", "c", "t", "a"]
    assert [item.text for item in items if isinstance(item, Text)] == ["Hi"]
    assert [item for item in items if isinstance(item, ToolCall)] == [ToolCall("c", "", "add", "{}")]
    assert [item for item in items if isinstance(item, Usage)] == [Usage(0, 0, 0, 0)]
    assert [item["role"] for item in answers] == ["user", "assistant"]
    assert [message.role for message in snapshot.messages] == ["user", "assistant", "tool", "assistant"]
