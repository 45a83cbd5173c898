"""Citations in a model's text about passages: which are shown, and how."""

from time import process_time
from uuid import uuid4

import pytest

from project3_rag_docs.answers.citations import CitedAnswer, best_sentence
from project3_rag_docs.search.hits import Hit
from project3_rag_docs.search.lexical import analyse

PASSAGES = [
    "The library opens at nine. It closes at six. Children enter free of charge.",
    "Tickets cost four euros. 学生票两欧元。周一闭馆。",
]


def hits() -> list[Hit]:
    return [Hit(uuid4(), uuid4(), f"{i}.txt", None, None, text, 1.0) for i, text in enumerate(PASSAGES)]


def answered(*written: str, question: str = "When?") -> tuple[str, list[tuple[int, str]], list[str]]:
    """Return the shown text, the citations as (marker, quote), and the text shown after each piece."""
    answer = CitedAnswer(question, hits())
    shown = [answer.add(piece) for piece in written]
    shown.append(answer.finish())
    assert answer.text == "".join(shown)
    return answer.text, [(cited.marker, cited.quote) for cited in answer.citations()], shown


def test_citation_quotes_the_supporting_sentence() -> None:
    text, cited, _ = answered("It opens at nine [1]. Tickets are four euros [2].")

    assert text == "It opens at nine [1]. Tickets are four euros [2]."
    assert cited == [(1, "The library opens at nine."), (2, "Tickets cost four euros.")]


def test_every_cited_statement_has_a_quote() -> None:
    _, cited, _ = answered("It opens at nine [1]. Tickets are four euros [2]. It closes at six [1]. Nine it is [1].")

    assert cited == [
        (1, "The library opens at nine."),
        (2, "Tickets cost four euros."),
        (1, "It closes at six."),
    ]


@pytest.mark.parametrize("pieces", [1, 2, 3, 5])
def test_markers_are_recognized_across_chunks(pieces: int) -> None:
    whole = "It opens at nine [1][2], and 学生票两欧元【2】. More [1, 2]."
    written = [whole[i : i + pieces] for i in range(0, len(whole), pieces)]

    text, cited, _ = answered(*written)

    assert text == "It opens at nine [1][2], and 学生票两欧元[2]. More [1][2]."
    assert [marker for marker, _ in cited] == [1, 2]


def test_markers_without_a_source_are_removed() -> None:
    text, cited, _ = answered("It opens at nine [1]. So it was in [9] and [7, 2].")

    assert text == "It opens at nine [1]. So it was in  and [2]."
    assert [marker for marker, _ in cited] == [1, 2]


def test_text_is_withheld_until_a_citation() -> None:
    text, _, shown = answered("I think ", "it opens ", "at nine [1]", ". Bye", "!")

    assert shown == ["", "", "I think it opens at nine [1]", ". Bye", "!", ""]
    assert text == "I think it opens at nine [1]. Bye!"


@pytest.mark.parametrize(
    ("written", "question", "said"),
    [
        ("The capital of France is Paris.", "What is the capital of France?", "The documents do not say."),
        ("The documents do not say.", "What?", "The documents do not say."),
        ("", "What?", "The documents do not say."),
        ("法国的首都是巴黎。", "法国的首都是哪里？", "文档中没有提到。"),
        ("The passages say [9] nothing.", "What?", "The documents do not say."),
    ],
)
def test_unsupported_text_is_not_shown(written: str, question: str, said: str) -> None:
    assert answered(written, question=question) == (said, [], ["", said])


def test_missing_marker_is_inserted() -> None:
    text, cited, _ = answered("The library opens at nine. Paris is the capital of France.")

    assert text == "The library opens at nine. [1] Paris is the capital of France."
    assert cited == [(1, "The library opens at nine.")]


def test_quote_is_verbatim_and_short() -> None:
    long = Hit(uuid4(), uuid4(), "x", None, None, "word " * 500 + "end.", 1.0)
    answer = CitedAnswer("?", [long])
    answer.add("A word [1].")
    answer.finish()

    (cited,) = answer.citations()
    assert cited.quote in long.text
    assert 0 < len(cited.quote) <= 1000


def test_best_sentence_has_most_terms_and_fewest_others() -> None:
    text = "The library opens. Tickets for the library cost four euros. Library tickets."

    assert best_sentence(text, analyse("library tickets").terms) == "Library tickets."
    assert best_sentence(text, analyse("euros").terms) == "Tickets for the library cost four euros."


def test_best_sentence_is_verbatim_and_short() -> None:
    text = "word " * 500 + "end."

    quote = best_sentence(text, analyse("word").terms)

    assert quote in text
    assert 0 < len(quote) <= 1000


def test_long_output_without_a_citation_does_not_block_the_event_loop() -> None:
    answer = CitedAnswer("What is it?", hits())
    started = process_time()

    shown = "".join(answer.add("word ") for _ in range(20_000)) + answer.finish()

    assert shown == "The documents do not say."
    assert process_time() - started < 3  # 0.1 in practice; 9 if all of the output is searched for each piece


def test_long_marker_in_pieces_is_recognized() -> None:
    numbers = ", ".join(["1"] * 21)
    answer = CitedAnswer("What is it?", hits())

    shown = "".join(answer.add(piece) for piece in f"Yes [1]. So it is [{numbers}].")

    assert shown == "Yes [1]. So it is " + "[1]" * 21 + "."


def test_long_answer_with_many_citations_does_not_block_the_event_loop() -> None:
    passage = Hit(uuid4(), uuid4(), "x", None, None, " ".join(f"Fact {i} is here." for i in range(60)), 1.0)
    answer = CitedAnswer("What is it?", [passage])
    answer.add("".join(f"Fact {i % 60} is here [1]. " for i in range(3000)) + "[1]" * 3000)
    answer.finish()
    started = process_time()

    assert len(answer.citations()) == 60
    assert process_time() - started < 3  # 0.2 in practice
