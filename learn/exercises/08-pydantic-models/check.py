import json

import pytest
from pydantic import ValidationError

HELLO = {"role": "user", "text": "Hello"}


def parse(exercise, **fields):
    return exercise.parse(json.dumps({"messages": [HELLO]} | fields))


def wrong(exercise, **fields):
    """Return the places of the errors, such as `messages.0.role`."""
    with pytest.raises(ValidationError) as refused:
        parse(exercise, **fields)
    return [".".join(str(part) for part in error["loc"]) for error in refused.value.errors()]


def test_defaults_are_filled_in(exercise):
    chat = parse(exercise)
    assert (chat.temperature, chat.stop) == (0.7, None)


def test_nested_objects_become_models(exercise):
    message = parse(exercise).messages[0]
    assert isinstance(message, exercise.Message)
    assert message.text == "Hello"


def test_number_in_a_text_is_converted(exercise):
    assert parse(exercise, temperature="1.5").temperature == 1.5


def test_limits_of_the_temperature(exercise):
    assert parse(exercise, temperature=0).temperature == 0
    assert parse(exercise, temperature=2).temperature == 2
    assert wrong(exercise, temperature=2.1) == ["temperature"]
    assert wrong(exercise, temperature=-1) == ["temperature"]


def test_messages_are_required(exercise):
    assert wrong(exercise, messages=[]) == ["messages"]


def test_every_error_is_reported_with_its_place(exercise):
    messages = [HELLO, {"role": "robot", "text": ""}]
    assert wrong(exercise, messages=messages, stop=3) == ["messages.1.role", "messages.1.text", "stop"]


def test_long_text_is_refused(exercise):
    assert wrong(exercise, messages=[HELLO | {"text": "x" * 2001}]) == ["messages.0.text"]
