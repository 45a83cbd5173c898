"""JSON of unusual values in a graph's state."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from project4_agent_api.core.serialization import dumps


@dataclass
class Answer:
    text: str
    parts: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**64, 2**64),
        ({"a": [-(2**70)]}, {"a": [-(2**70)]}),
        ("a\ud800b", "a\ufffdb"),
        ({"\ud800": 2**64}, {"\ufffd": 2**64}),
        (Answer("\ud800", ("\udfff",)), {"text": "\ufffd", "parts": ["\ufffd"]}),
    ],
)
def test_value_beyond_the_encoder_is_encoded(value: object, expected: object) -> None:
    assert json.loads(dumps(value)) == expected


def test_message_with_an_integer_beyond_64_bits_is_encoded() -> None:
    call = {"type": "tool_call", "id": "1", "name": "count", "args": {"to": 2**64}}
    message = AIMessage.model_validate({"content": "", "tool_calls": [call]})
    assert json.loads(dumps(message))["tool_calls"][0]["args"] == {"to": 2**64}


def test_deep_part_of_a_value_becomes_null() -> None:
    value: Any = "deep"
    for _ in range(1000):
        value = [value]
    encoded = dumps({"a": value, "b": 1})
    assert b"null" in encoded
    assert json.loads(encoded)["b"] == 1
