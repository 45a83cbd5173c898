from collections.abc import Mapping
from typing import get_type_hints

AGES = [dict[str, int], Mapping[str, int]]


def test_dictionary_becomes_list(exercise):
    hints = get_type_hints(exercise.names_of_adults)
    assert hints.get("ages") in AGES, "`ages`: a dictionary from names to whole numbers / ages 是从名字到整数的字典"
    assert hints.get("minimum") is int, "`minimum`: a whole number / minimum 是整数"
    assert hints.get("return") == list[str], "returned: a list of names / 返回名字的列表"


def test_age_may_be_missing(exercise):
    hints = get_type_hints(exercise.find_age)
    assert hints.get("ages") in AGES, "`ages`: a dictionary from names to whole numbers / ages 是从名字到整数的字典"
    assert hints.get("name") is str, "`name`: a string / name 是字符串"
    assert hints.get("return") == int | None, "returned: an age, or None / 返回年龄，或者 None"


def test_functions_still_work(exercise):
    assert exercise.names_of_adults({"Ada": 36, "Tim": 9}) == ["Ada"]
    assert exercise.find_age({"Ada": 36}, "Tim") is None
