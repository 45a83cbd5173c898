"""Quotes: whole sentences, also of passages whose lines are wrapped."""

import pytest

from project3_rag_docs.answers.citations import best_sentence
from project3_rag_docs.answers.quotes import sentences
from project3_rag_docs.search.lexical import analyse

WRAPPED = """\
Leave policy
Every employee receives twenty-five days of paid
leave in each year, of which five may be
carried over. They expire in March.

带薪年假的天数按照员工在本公司的工作年限计算，满一年的
员工每年享有十天。病假另
计。
"""


@pytest.mark.parametrize(
    ("asked", "quote"),
    [
        (
            "Five may be carried over",
            "Every employee receives twenty-five days of paid leave in each year, of which five may be carried over.",
        ),
        ("expire in March", "They expire in March."),
        ("员工享有十天", "带薪年假的天数按照员工在本公司的工作年限计算，满一年的员工每年享有十天。"),
    ],
)
def test_quote_of_wrapped_lines_is_a_whole_sentence(asked: str, quote: str) -> None:
    assert best_sentence(WRAPPED, analyse(asked).terms) == quote


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Opening hours\nThe library opens at nine.", ["Opening hours", "The library opens at nine."]),
        ("Name: Ada; City: London\nName: Bob; City: Paris", ["Name: Ada; City: London", "Name: Bob; City: Paris"]),
        ("Ada Lovelace | London\nCharles Babbage | London", ["Ada Lovelace | London", "Charles Babbage | London"]),
        (
            "- bring your own library card\n- bring a photograph of yourself",
            ["- bring your own library card", "- bring a photograph of yourself"],
        ),
        ("1. Apply for it in writing\n2. Pay", ["1. Apply for it in writing", "2. Pay"]),
        ("第一条 员工应当按时上班并且遵守纪律\n第二条 请假", ["第一条 员工应当按时上班并且遵守纪律", "第二条 请假"]),
        ("It is a well-\nknown fact.\r\nWe saw it.", ["It is a well-known fact.", "We saw it."]),
    ],
)
def test_only_wrapped_lines_are_joined(text: str, found: list[str]) -> None:
    assert sentences(text) == found


POLICY = """\
Kestrin refund policy
Any article bought from Kestrin may be
returned within 45 days.
Head of returns: Ada Lovelace

退货政策
顾客可以在四十五天内退货，无须说明理由。
"""


@pytest.mark.parametrize(
    ("statement", "quote"),
    [
        (
            "By the Kestrin refund policy, you may return it within 45 days",
            "Any article bought from Kestrin may be returned within 45 days.",
        ),
        ("退货政策允许四十五天内退货", "顾客可以在四十五天内退货，无须说明理由。"),
        ("Ada Lovelace is head of returns", "Head of returns: Ada Lovelace"),
        ("It is named Kestrin refund policy", "Kestrin refund policy"),
    ],
)
def test_heading_is_quoted_only_if_no_sentence_supports_the_statement(statement: str, quote: str) -> None:
    assert best_sentence(POLICY, analyse(statement).terms) == quote


def test_passage_without_words_has_no_quote() -> None:
    assert best_sentence("....... | ---- \uffff", {"a"}) == ""


def test_longest_quotes_end_between_words() -> None:
    text = "a clause of words, " * 100

    quote = best_sentence(text, analyse("clause").terms)

    assert 900 < len(quote) <= 1000
    assert text.startswith(f"{quote} ")
