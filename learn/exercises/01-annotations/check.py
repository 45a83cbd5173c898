from collections.abc import Mapping
from typing import get_type_hints

AGES = {dict[str, int], Mapping[str, int]}


def test_dictionary_becomes_list(exercise):
    hints = get_type_hints(exercise.names_of_adults)
    assert hints.get("ages") in AGES
    assert hints.get("minimum") is int
    assert hints.get("return") == list[str]


def test_age_may_be_missing(exercise):
    hints = get_type_hints(exercise.find_age)
    assert hints.get("ages") in AGES
    assert hints.get("name") is str
    assert hints.get("return") == int | None


def test_functions_still_work(exercise):
    assert exercise.names_of_adults({"Ada": 36, "Tim": 9}) == ["Ada"]
    assert exercise.find_age({"Ada": 36}, "Tim") is None
