"""Reasoning in the text of an answer is separated from it, however the text is cut into chunks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.models.reasoning import ReasoningHabit, ReasoningSplitter

SPLIT = {
    "tags": ("<think>Let me see.</think>It is 42.", "Let me see.", "It is 42."),
    "tags and blank lines": ("<think>\nLet me see.\n\n</think>\n\nIt is 42.\n", "Let me see.", "It is 42.\n"),
    "white space before": ("\n <think>a</think>b", "a", "b"),
    "upper case": ("<THINK>a</Think>b", "a", "b"),
    "no opening tag": ("Let me see.\n</think>\n\nIt is 42.", "Let me see.", "It is 42."),
    "no reasoning, but a closing tag": ("\n</think>\n\nIt is 42.", "", "It is 42."),
    "empty reasoning": ("<think>\n\n</think>\n\nIt is 42.", "", "It is 42."),
    "never closed": ("<think>Let me see. 1 < 2", "Let me see. 1 < 2", ""),
    "a partial closing tag": ("<think>Let me see</thin", "Let me see</thin", ""),
    "twice": ("<think>a</think>\n<think>b</think>c", "ab", "c"),
    "other tags in it": ("<think>is <b> a </tag>?</think>yes", "is <b> a </tag>?", "yes"),
    "thinking": ("<thinking>a</thinking>b", "a", "b"),
    "thought": ("<thought>\na\n</thought>b", "a", "b"),
    "Magistral": ("[THINK]a[/THINK]b", "a", "b"),
    "Seed": ("<seed:think>a</seed:think>b", "a", "b"),
    "Kimi": ("◁think▷a◁/think▷b", "a", "b"),
    "Gemma": ("<|channel>thought\nLet me see.\n<channel|>It is 42.", "Let me see.", "It is 42."),
    "MiniMax": ("<mm:think>a</mm:think>b", "a", "b"),
    "gpt-oss": (
        "<|channel|>analysis<|message|>a <|x|><|end|><|start|>assistant<|channel|>final<|message|>b",
        "a <|x|>",
        "b",
    ),
    "gpt-oss, cut off": ("<|channel|>analysis<|message|>a", "a", ""),
    "another tag": ("<thinker>a</thinker>b", "", "<thinker>a</thinker>b"),
    "reasoning as a prompt asks for it": ("<reasoning>a</reasoning>b", "", "<reasoning>a</reasoning>b"),
    "about the tag": ("Write <think>x</think> around it.", "", "Write <think>x</think> around it."),
    "about the closing tag": ("End with `</think>`, like </b>.", "", "End with `</think>`, like </b>."),
    "in code": ("```html\nx</think>\n```", "", "```html\nx</think>\n```"),
    "HTML": ("<p>1 < 2</p>", "", "<p>1 < 2</p>"),
    "a comparison": ("1 <", "", "1 <"),
    "white space": (" \n", "", " \n"),
    "nothing": ("", "", ""),
    "an answer of code": ("Let me see.</think>```\n42\n```", "Let me see.", "```\n42\n```"),
    "an opening bracket": ("[1] says so.", "", "[1] says so."),
}


def split(text: str, size: int, habit: ReasoningHabit | None = None, *, truncated: bool = False) -> tuple[str, str]:
    splitter = ReasoningSplitter(habit or ReasoningHabit("m"))
    reasoning = answer = ""
    pieces = [splitter.add(text[place : place + size]) for place in range(0, len(text), size)]
    for more, piece in [*pieces, splitter.finish(truncated=truncated)]:
        reasoning += more
        answer += piece
    return reasoning, answer[splitter.misplaced :].lstrip() if splitter.misplaced else answer


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("case", SPLIT)
def test_reasoning_is_separated(case: str, size: int) -> None:
    text, reasoning, answer = SPLIT[case]

    assert split(text, size) == (reasoning, answer)


PIECES = ["<think>", "</think>", "[THINK]", "[/THINK]", "</thin", "k>", "<", "`", "```", "\n", "Let me see", "42"]


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), st.integers(1, 3))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_chunks_are_separated_as_the_whole_answer(text: str, size: int) -> None:
    reasoning, answer = split(text, size)
    whole_reasoning, whole_answer = split(text, 1_000)

    assert (reasoning.strip(), answer.strip()) == (whole_reasoning.strip(), whole_answer.strip())


def test_text_without_reasoning_is_passed_on_at_once() -> None:
    splitter = ReasoningSplitter(ReasoningHabit("m"))

    assert [splitter.add(text) for text in ["It", " is", " <b>42</b>", "."]] == [
        ("", "It"),
        ("", " is"),
        ("", " <b>42</b>"),
        ("", "."),
    ]


def test_reasoning_is_passed_on_while_it_arrives() -> None:
    splitter = ReasoningSplitter(ReasoningHabit("m"))

    assert [splitter.add(text) for text in ["<thi", "nk>\nLet", " me", " see", ".\n</th", "ink>\n", "\n42"]] == [
        ("", ""),
        ("Let", ""),
        (" me", ""),
        (" see", ""),
        (".", ""),
        ("", ""),
        ("", "42"),
    ]


@pytest.mark.parametrize("name", ["deepseek-r1:7b", "qwq-32b", "Qwen3-4B-Thinking-2507", "phi-4-reasoning"])
def test_unknown_reasoner_is_not_streamed(name: str) -> None:
    splitter = ReasoningSplitter(habit := ReasoningHabit(name))

    assert [splitter.add(text) for text in ["Let me", " see.\n", "</think>", "42"]] == [
        ("", ""),
        ("", ""),
        ("Let me see.", ""),
        ("", "42"),
    ]
    assert habit.unopened
    second = ReasoningSplitter(habit)
    assert [second.add(text) for text in ["Let me", " see.\n", "</think>", "42"]] == [
        ("Let me", ""),
        (" see.", ""),
        ("", ""),
        ("", "42"),
    ]


@pytest.mark.parametrize("name", ["m", "gpt-4.1", "r10", "grok-4-fast-non-reasoning"])
def test_other_names_are_streamed(name: str) -> None:
    assert ReasoningSplitter(ReasoningHabit(name)).add("It is") == ("", "It is")


def test_answer_of_a_reasoner_without_reasoning_is_kept() -> None:
    assert split("It is 42.", 3, habit := ReasoningHabit("deepseek-r1")) == ("", "It is 42.")
    assert habit.unopened is False
    assert ReasoningSplitter(habit).add("It is") == ("", "It is")


def test_truncated_reasoner_has_no_answer() -> None:
    assert split("Let me see", 3, ReasoningHabit("deepseek-r1"), truncated=True) == ("Let me see", "")
    assert split("Let me see", 3, ReasoningHabit("m", unopened=True), truncated=True) == ("Let me see", "")


def test_reasoning_that_was_streamed_as_the_answer_is_counted_and_remembered() -> None:
    splitter = ReasoningSplitter(habit := ReasoningHabit("m"))

    assert splitter.add("Let me see. ") == ("", "Let me see. ")
    assert splitter.add("</think>42") == ("Let me see.", "42")
    assert splitter.misplaced == len("Let me see. ")
    assert habit.unopened


def test_text_beside_a_field_of_reasoning_is_the_answer() -> None:
    splitter = ReasoningSplitter(ReasoningHabit("deepseek-r1"))
    splitter.expect_no_unopened_tag()

    assert splitter.add("It is </think>") == ("", "It is </think>")
