"""Quotes from passages: whole sentences, also where lines are wrapped."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from project3_rag_docs.ingestion.chunking import split_sentences
from project3_rag_docs.search.lexical import analyse

_SENTENCE_END = re.compile("[.!?:…。！？：｡؟۔।][\"'”’»)\\]」』）】》〉］]{0,3}$")
_NEW_ITEM = re.compile(r"[-*+•·>|#]|\(?\w{1,3}[.)、](?:\s|$)|[（(][\w一二三四五六七八九十]{1,3}[)）]|第\S{1,6}[条章节]")
_NAMED_VALUE = re.compile(r"([^:：|]{1,60})[:：|]\s")
_NOT_IN_HEADINGS = re.compile(r"[\d|:;：；]")
_HYPHENS = ("-", "\u2010")
_UNSPACED = re.compile("[\u2e80-\U0010ffff]")  # the letters and punctuation of Chinese and Japanese, among others
# The width of a line, relative to the widest one of its block, from which its end is taken for a wrap.
_WRAPPED_SHARE = 0.6
_MIN_WRAPPED_WIDTH = 20  # letters; a Chinese character is as wide as two


class Sentence(NamedTuple):
    """A sentence, its terms, and whether it is a heading: a line without the marks of a sentence, above one."""

    text: str
    terms: frozenset[str]
    is_heading: bool


@lru_cache(maxsize=64)  # an answer may cite a passage hundreds of times
def analysed_sentences(text: str) -> Sequence[Sentence]:
    """Return the sentences of a text that have words."""
    found = [*sentences(text), ""]
    analysed = (
        Sentence(sentence, frozenset(analyse(sentence).terms), _is_heading(sentence, following))
        for sentence, following in pairwise(found)
    )
    return [sentence for sentence in analysed if sentence.terms]


def _is_heading(line: str, following: str) -> bool:
    is_sentence = _SENTENCE_END.search(line) or _NOT_IN_HEADINGS.search(line) or _NEW_ITEM.match(line)
    return not is_sentence and _SENTENCE_END.search(following) is not None


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, with their line breaks removed.

    A line that is no part of a wrapped sentence, such as a heading or a row of a table, counts as a sentence.
    """
    found = (sentence.strip() for line in _unwrapped(text) for sentence in split_sentences(line))
    return [sentence for sentence in found if sentence]


def _unwrapped(text: str) -> Iterator[str]:
    """Yield the lines of a text, with those joined that are wrapped in mid-sentence."""
    for block in re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n")):
        lines = [line.strip() for line in block.split("\n") if line.strip()]
        widest = max(map(_width, lines), default=0)
        held = ""
        last = ""
        for line in lines:
            if held and _continues(last, line, widest):
                held += _joint(held, line) + line
            else:
                if held:
                    yield held
                held = line
            last = line
        if held:
            yield held


def _continues(line: str, following: str, widest: int) -> bool:
    if _SENTENCE_END.search(line) or _NEW_ITEM.match(following) or " | " in line:
        return False
    name = _NAMED_VALUE.match(line)
    if name is not None and following.startswith(name[1]):  # two rows of a table
        return False
    if line.endswith(_HYPHENS) and following[0].islower():
        return True
    width = _width(line)
    return width >= _MIN_WRAPPED_WIDTH and (following[0].islower() or width >= _WRAPPED_SHARE * widest)


def _width(line: str) -> int:
    return len(line) + len(_UNSPACED.findall(line))


def _joint(line: str, following: str) -> str:
    unspaced = _UNSPACED.match(line[-1]) and _UNSPACED.match(following[0])
    return "" if unspaced or line.endswith(_HYPHENS) else " "
