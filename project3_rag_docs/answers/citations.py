"""Check citations: an answer is shown only if it cites a passage from the prompt.

The model's output is held back until it cites a passage. If it ends without a citation, markers are added to sentences
that clearly come from a passage. If there are none, the output is replaced by the statement that the documents contain
no answer: either the model said the same, or it made something up.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from project3_rag_docs.answers.quotes import Sentence, analysed_sentences
from project3_rag_docs.ingestion.chunking import split_sentences
from project3_rag_docs.search.hits import Hit
from project3_rag_docs.search.lexical import Language, analyse, language_of

_NO_ANSWER = {
    Language.EN: "The documents do not say.",
    Language.ZH: "文档中没有提到。",
}
# [1], [1, 2], 【1】: models write all of these.
_MARKER = re.compile(r"[\[【]\s{0,2}(\d{1,3}(?:\s{0,2}[,，、]\s{0,2}\d{1,3}){0,20})\s{0,2}[\]】]")
_PARTIAL_MARKER = re.compile(r"[\[【][\d\s,，、]{0,200}$")
# The share of a sentence's terms that a passage must contain for the sentence to be attributed to it.
_ATTRIBUTION_SHARE = 0.8
_MAX_QUOTE_LENGTH = 1000  # characters; an entire chunk is hardly longer
_NO_SENTENCE = Sentence("", frozenset(), is_heading=False)
_CLAUSE_OR_WORD_END = re.compile(r".*(?:[，；、]|(?=\s))", re.DOTALL)


def no_answer_text(question: str) -> str:
    """Return the statement, in the question's language, that the documents contain no answer."""
    return _NO_ANSWER[language_of(question)]


@dataclass(frozen=True)
class CitedPassage:
    """A passage that an answer cites, its marker, and a verbatim quote from it."""

    marker: int
    passage: Hit
    quote: str


class CitedAnswer:
    """An answer in progress: takes the model's output, and returns the text that may be shown.

    Args:
        question: The question, which determines the language of the statement that there is no answer.
        passages: The passages in the prompt; the first has number 1.
    """

    def __init__(self, question: str, passages: Sequence[Hit]) -> None:
        self._question = question
        self._passages = passages
        self._pending = ""  # may begin a marker
        self._uncited: list[str] = []  # held back until there is a citation
        self._cited_numbers: list[int] = []
        self.text = ""  # all text that was returned

    def add(self, written: str) -> str:
        """Add a piece of the model's output; return the text that may be shown now."""
        self._pending += written
        cut = match.start() if (match := _PARTIAL_MARKER.search(self._pending)) else len(self._pending)
        ready, self._pending = self._pending[:cut], self._pending[cut:]
        self._uncited.append(self._normalize_markers(ready))
        return self._show(self._take_uncited()) if self._cited_numbers else ""

    def restart(self) -> int:
        """Discard the output so far, which was no part of the answer; return the length of its displayed part."""
        shown = len(self.text)
        self._pending, self._uncited, self._cited_numbers, self.text = "", [], [], ""
        return shown

    def finish(self) -> str:
        """Return the rest of the text; without any citation, the statement that there is no answer."""
        self._uncited.append(self._normalize_markers(self._pending))
        self._pending, rest = "", self._take_uncited()
        if not self._cited_numbers:
            rest = self._add_missing_markers(rest)
        return self._show(rest if self._cited_numbers else no_answer_text(self._question))

    def citations(self) -> list[CitedPassage]:
        """Return a quote for each statement and each passage that it cites, in the order of the markers.

        Statements that the same sentence supports share one quote. A statement that has no word in common with the
        passage, such as one in another language, adds none, unless it is the only one that cites the passage.
        """
        found: dict[tuple[int, str], None] = {}
        for statement in _statements(self.text):
            terms = analyse(_MARKER.sub("", statement)).terms.keys()
            for number in _numbers(statement):
                quote = best_sentence(self._passages[number - 1].text, terms)
                found[number, quote if analyse(quote).terms.keys() & terms else ""] = None
        quoted = {number for number, quote in found if quote}
        return [
            CitedPassage(number, self._passages[number - 1], quote or self._quote(number))
            for number, quote in found
            if quote or number not in quoted
        ]

    def _quote(self, number: int) -> str:
        """Return the sentence of a passage that best matches the question."""
        return best_sentence(self._passages[number - 1].text, analyse(self._question).terms)

    def _take_uncited(self) -> str:
        text, self._uncited = "".join(self._uncited), []
        return text

    def _show(self, text: str) -> str:
        self.text += text
        return text

    def _normalize_markers(self, text: str) -> str:
        """Rewrite markers as `[1][2]`, and drop numbers without a passage."""

        def replace(match: re.Match[str]) -> str:
            numbers = [int(number) for number in re.findall(r"\d+", match[1])]
            known = [number for number in numbers if 1 <= number <= len(self._passages)]
            self._cited_numbers += [number for number in dict.fromkeys(known) if number not in self._cited_numbers]
            return "".join(f"[{number}]" for number in known)

        return _MARKER.sub(replace, text)

    def _add_missing_markers(self, text: str) -> str:
        """Add a marker to each sentence that clearly comes from a passage."""
        shown = [frozenset(analyse(passage.text).terms) for passage in self._passages]
        pieces = []
        for sentence in split_sentences(text):
            terms = frozenset(analyse(sentence).terms)
            number = max(range(1, len(shown) + 1), key=lambda place: len(terms & shown[place - 1]), default=0)
            if number and len(terms) > 2 and len(terms & shown[number - 1]) >= _ATTRIBUTION_SHARE * len(terms):
                body = sentence.rstrip()
                pieces.append(f"{body} [{number}]{sentence[len(body) :]}")
                self._cited_numbers += [number] if number not in self._cited_numbers else []
            else:
                pieces.append(sentence)
        return "".join(pieces)


def _numbers(statement: str) -> list[int]:
    return list(dict.fromkeys(map(int, re.findall(r"\[(\d{1,3})\]", statement))))


def best_sentence(text: str, terms: Collection[str]) -> str:
    """Return the sentence that contains most of the terms; among equals, the one with the fewest others.

    A heading has to contain twice as many. The result is verbatim but for line breaks inside it, and empty if no
    sentence of the text has words.
    """
    wanted = set(terms)

    def fit(sentence: Sentence) -> tuple[int, bool, int]:
        shared = len(sentence.terms & wanted)
        return shared if sentence.is_heading else 2 * shared, not sentence.is_heading, -len(sentence.terms)

    best = max(analysed_sentences(text), key=fit, default=_NO_SENTENCE).text
    if len(best) <= _MAX_QUOTE_LENGTH:
        return best
    shorter = _CLAUSE_OR_WORD_END.match(best[:_MAX_QUOTE_LENGTH])
    return (shorter[0] if shorter and shorter[0].strip() else best[:_MAX_QUOTE_LENGTH]).rstrip()


def _statements(text: str) -> list[str]:
    """Split an answer after each run of markers; a statement ends with the markers that support it."""
    return re.findall(r".*?(?:(?:\[\d+\])+[.。]?|$)", text, re.DOTALL)
