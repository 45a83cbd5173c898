"""What makes an answer one from the documents: each citation points at a passage that the model was shown.

A model's text is shown once it has cited a passage. One that cites nothing to the end is not shown, unless its
sentences can be found in the passages: it says that the documents do not say, or it says what they do not.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from project3_rag_docs.ingestion.chunking import sentences
from project3_rag_docs.search.lexical import Language, analyse, language_of
from project3_rag_docs.search.rankings import Hit

_DO_NOT_SAY = {
    Language.EN: "The documents do not say.",
    Language.ZH: "文档中没有提到。",
}
# [1], [1, 2], 【1】; models write all of them.
_MARKER = re.compile(r"[\[【]\s{0,2}(\d{1,3}(?:\s{0,2}[,，、]\s{0,2}\d{1,3}){0,20})\s{0,2}[\]】]")
_MAYBE_MARKER = re.compile(r"[\[【][\d\s,，、]{0,60}$")
_LONGEST_QUOTE = 400
# The share of a sentence's terms that must stand in a passage before it counts as taken from there.
_TAKEN_FROM = 0.8


def do_not_say(question: str) -> str:
    """Say in the question's language that the documents do not answer it."""
    return _DO_NOT_SAY[language_of(question)]


@dataclass(frozen=True)
class Cited:
    """A passage that an answer rests on: its number, the passage, and a part of its text word for word."""

    marker: int
    passage: Hit
    quote: str


class CitedAnswer:
    """An answer while it is written: takes what the model writes, gives what may be shown.

    Args:
        question: Says in which language to say that the documents do not say.
        passages: What the model was shown; the first is number 1.
    """

    def __init__(self, question: str, passages: Sequence[Hit]) -> None:
        self._question = question
        self._passages = passages
        self._held = ""
        self._used: list[int] = []
        self.text = ""  # all that was given

    def add(self, written: str) -> str:
        """Take more of what the model writes; return what may be shown now."""
        self._held += written
        cut = match.start() if (match := _MAYBE_MARKER.search(self._held)) else len(self._held)
        ready, rest = self._canonical(self._held[:cut]), self._held[cut:]
        if not self._used:
            self._held = ready + rest
            return ""
        self._held = rest
        return self._show(ready)

    def end(self) -> str:
        """Return the rest of what may be shown; where nothing was cited, that the documents do not say."""
        rest, self._held = self._canonical(self._held), ""
        if not self._used:
            rest = self._attributed(rest)
        return self._show(rest if self._used else do_not_say(self._question))

    def citations(self) -> list[Cited]:
        """Return what the text rests on, in the order of its markers."""
        return [Cited(number, self._passages[number - 1], self._quote(number)) for number in self._used]

    def _show(self, text: str) -> str:
        self.text += text
        return text

    def _canonical(self, text: str) -> str:
        """Write markers as `[1][2]`, and leave those out that point nowhere."""

        def replace(match: re.Match[str]) -> str:
            numbers = [int(number) for number in re.findall(r"\d+", match[1])]
            known = [number for number in numbers if 1 <= number <= len(self._passages)]
            self._used += [number for number in dict.fromkeys(known) if number not in self._used]
            return "".join(f"[{number}]" for number in known)

        return _MARKER.sub(replace, text)

    def _attributed(self, text: str) -> str:
        """Put in the markers that a model has left out, where its sentences plainly are a passage's."""
        shown = [frozenset(analyse(passage.text).terms) for passage in self._passages]
        pieces = []
        for sentence in sentences(text):
            terms = frozenset(analyse(sentence).terms)
            number = max(range(1, len(shown) + 1), key=lambda place: len(terms & shown[place - 1]), default=0)
            if number and len(terms) > 2 and len(terms & shown[number - 1]) >= _TAKEN_FROM * len(terms):
                body = sentence.rstrip()
                pieces.append(f"{body} [{number}]{sentence[len(body) :]}")
                self._used += [number] if number not in self._used else []
            else:
                pieces.append(sentence)
        return "".join(pieces)

    def _quote(self, number: int) -> str:
        """Return the sentence of a passage that says most of what it is cited for."""
        cited = [part for part in _statements(self.text) if f"[{number}]" in part]
        terms = frozenset(analyse(" ".join(_MARKER.sub("", part) for part in cited)).terms)
        return best_sentence(self._passages[number - 1].text, terms)


def best_sentence(text: str, terms: Collection[str]) -> str:
    """Return the sentence of a text that has most of some terms in it, and the fewest others among equals; verbatim."""

    def fit(sentence: str) -> tuple[int, int]:
        own = analyse(sentence).terms.keys()
        return len(own & set(terms)), -len(own)

    candidates = [sentence.strip() for sentence in sentences(text) if sentence.strip()]
    best = max(candidates, key=fit, default=text)
    return best[:_LONGEST_QUOTE].rstrip()


def _statements(text: str) -> list[str]:
    """Cut an answer after each run of markers: what stands before one is what it is cited for."""
    return re.findall(r".*?(?:(?:\[\d+\])+[.。]?|$)", text, re.DOTALL)
