import pytest
from pydantic import ValidationError

VALID = {"title": " Chapter 1 ", "first": 1, "last": 9}


def errors(exercise, **fields):
    with pytest.raises(ValidationError) as refused:
        exercise.Range(**(VALID | fields))
    return [(error["type"], ".".join(map(str, error["loc"]))) for error in refused.value.errors()]


def test_title_is_stripped(exercise):
    assert exercise.Range(**VALID).title == "Chapter 1"


def test_unknown_field_is_refused(exercise):
    assert errors(exercise, page=3) == [("extra_forbidden", "page")]


def test_number_in_a_text_is_refused(exercise):
    assert errors(exercise, first="1") == [("int_type", "first")]


def test_blank_title_is_refused(exercise):
    assert errors(exercise, title="  ") == [("value_error", "title")]


def test_order_is_checked(exercise):
    assert exercise.Range(**VALID | {"last": 1}).last == 1
    assert errors(exercise, first=10) == [("value_error", "")]
