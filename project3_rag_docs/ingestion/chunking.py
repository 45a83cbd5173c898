"""Cutting a document into passages of the size that an embedding model reads, at the places where a reader would."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from langchain_core.documents import Document

# Alphabets count one; Thai, Ethiopic and what has a syllable or a word in one character count three, as do emoji.
_HEAVY = "\u0e00-\u1dff\u2e80-\U0010ffff"
_HEAVY_CHARACTER = re.compile(f"[{_HEAVY}]")
_HEAVY_WEIGHT = 3

_CLOSERS = "[\"'”’»)\\]」』）】》〉］]{0,3}"
_STRONG_END = re.compile(
    f"(?<![.!?…])[.!?…؟۔।]{{1,4}}{_CLOSERS}(?=\\s)"  # more than four are the dots of a table of contents
    f"|(?:[。！？；｡]|……|[!?](?=[{_HEAVY}])){{1,9}}{_CLOSERS}"
)
_STRONG_END_OR_LINE = re.compile(f"{_STRONG_END.pattern}|\n")
_PARAGRAPH_END = re.compile(r"(?=\r?\n[^\S\n]{0,40}\n)")
_LINE_END = re.compile(r"(?=\n)")
_CLAUSE_END = re.compile(r"[,;:](?=\s)|[，、：､]")
_NOT_SPACE = re.compile(r"\S")

_BEFORE_FULL_STOP = re.compile(r"(?<![\w.])[^\W\d_]+(?:\.[^\W\d_]+)*$|(?:^|\n)[^\S\n]*\d{1,3}$")
_INITIALS = re.compile(r"\w{1,2}(?:\.\w{1,2})+")  # "U.S", "a.m", "Ph.D"
_NEVER_LAST = """
    mr mrs ms dr prof rev gen col lt sgt capt st mt nos fig figs eq eqs sec ch vol vols pp ed eds cf vs viz approx
    dept est resp incl
"""
# These may well end a sentence; the capital letter of the next one says so.
_OFTEN_LAST = "etc al inc ltd co corp jr sr jan feb mar apr jun jul aug sep sept oct nov dec"
_ABBREVIATIONS = frozenset(_NEVER_LAST.split())
_CLOSING_ABBREVIATIONS = frozenset(_OFTEN_LAST.split())
_LONGEST_ABBREVIATION = 12

_BLANK_LINE = "\n\n"
_ZERO_WIDTH_JOINER = "\u200d"
_LONGEST_SEQUENCE = 16  # characters that are shown as one


@dataclass(frozen=True)
class Chunk:
    """A passage of a document, verbatim."""

    text: str
    page: int | None
    heading: str | None


def in_context(heading: str | None, text: str) -> str:
    """Return what stands for a chunk in the index: a paragraph often says only under its heading what it is about."""
    return f"{heading}\n{text}" if heading else text


def chunks_of(sections: Iterable[Document], size: int = 1200, overlap: int = 150) -> Iterator[Chunk]:
    """Cut sections into chunks, lazily: one section is held at a time.

    Sections that follow each other on the same page and under the same heading are put together, with a blank line
    between them, as long as they fit into one chunk.

    Args:
        sections: Each with a `page` and a `heading` in its metadata; both may be None or missing.
        size: The most that a chunk may weigh. A character of an alphabet weighs one and of Chinese three: an
            embedding model reads some 512 tokens, and 1,200 letters of English are about 300 tokens, as are 400
            Chinese characters.
        overlap: The most that the end of a chunk may weigh that is repeated at the beginning of the next.

    Yields:
        The chunks, in order; none is blank, and none reaches over a change of page or heading.

    Raises:
        ValueError: if the size is too small to cut, or the overlap is more than half of it.
    """
    for page, heading, text in _merged(sections, size):
        for start, end in spans(text, size, overlap):
            yield Chunk(text[start:end], page, heading)


def spans(text: str, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield where the chunks of one text start and end, in time proportional to its length.

    Between them they hold everything but white space. A chunk is cut at the last good place that fits: before a blank
    line, after a sentence, a line, a clause, a word, and only then anywhere. It begins with the last sentences of the
    one before, if they weigh little enough.

    Args:
        text: Any text.
        size: The most that a chunk may weigh.
        overlap: The most that two chunks may share.

    Raises:
        ValueError: if the size is too small to cut, or the overlap is more than half of it.
    """
    if size < 2 * _HEAVY_WEIGHT or not 0 <= 2 * overlap <= size:
        msg = f"cannot cut into {size} with an overlap of {overlap}"
        raise ValueError(msg)
    end = len(text.rstrip())
    start = new = _next_word(text, 0)  # a chunk starts with what is repeated; from `new` on, nothing was seen before
    while new < end:
        cut = _cut(text, start, new, end, size)
        stop = start + len(text[start:cut].rstrip())
        yield start, stop
        new = _next_word(text, cut)
        start = _overlap_start(text, start, stop, new, overlap)


def sentences(text: str) -> list[str]:
    """Cut a text into its sentences and lines, each with the white space after it: joined, they are the text again."""
    found: list[str] = []
    start = 0
    for end, _ in _sentence_starts(text, _next_word(text, 0), len(text)):
        found.append(text[start:end])
        start = end
    if start < len(text):
        found.append(text[start:])
    return found


def _merged(sections: Iterable[Document], size: int) -> Iterator[tuple[int | None, str | None, str]]:
    """Yield page, heading and text of sections, with small neighbours that agree in both put together."""
    page: int | None = None
    heading: str | None = None
    held = ""
    for section in sections:
        text = section.page_content
        if not text.strip():
            continue
        here = section.metadata.get("page"), section.metadata.get("heading")
        if held and here == (page, heading) and _fit_together(held, text, size):
            held += _BLANK_LINE + text
            continue
        if held:
            yield page, heading, held
        page, heading = here
        held = text
    if held:
        yield page, heading, held


def _cut(text: str, start: int, new: int, end: int, size: int) -> int:
    """Return where the chunk that starts at `start` ends, after `new` and with no more than `size` before it."""
    # A quarter more than a chunk is seen, so that the last two can share instead of leaving a scrap.
    sums = _weights(text[start : min(end, start + size + size // 4 + 1)])
    limit = start + bisect_right(sums, size)
    if limit >= end:
        return end
    floor, goal = start + bisect_right(sums, size // 2), limit
    if start + len(sums) == end and 4 * sums[-1] <= 5 * size:
        floor, goal, limit = (start + bisect_right(sums, sums[-1] * quarters // 4) for quarters in (1, 2, 3))
    floor, goal, limit = max(floor, new), max(goal, new + 1), max(limit, new + 1)
    for ends in (_PARAGRAPH_END, _STRONG_END, _LINE_END, _CLAUSE_END):
        found = _ends(text, ends, floor, limit)
        if found:
            return min(found, key=lambda at: abs(at - goal))
    for cut in range(goal, new, -1):
        if _is_between_words(text, cut):
            return cut
    for cut in range(goal, max(new, goal - _LONGEST_SEQUENCE), -1):
        if not _is_inside_character(text, cut):
            return cut
    return goal


def _ends(text: str, ends: re.Pattern[str], floor: int, limit: int) -> list[int]:
    found = ends.finditer(text, floor, limit + 1)  # one more, to see the space after the last character
    return [match.end() for match in found if floor < match.end() <= limit and not _is_abbreviation(text, match)]


def _overlap_start(text: str, start: int, stop: int, new: int, overlap: int) -> int:
    """Return where the next chunk starts: at the first sentence that is near enough to what is new, or there.

    A sentence that begins with its line's beginning only may be the rest of one, so others go before it.
    """
    backwards = _weights(text[max(start + 1, new - overlap) : new][::-1])
    earliest = new - bisect_right(backwards, overlap)
    line = new
    for at, strong in _sentence_starts(text, max(start, earliest - 2 * _LONGEST_SEQUENCE), stop):
        if at >= earliest and strong:
            return at
        if at >= earliest:
            line = min(line, at)
    return line


def _sentence_starts(text: str, start: int, end: int) -> Iterator[tuple[int, bool]]:
    """Yield where sentences and lines begin after `start` and before `end`, and whether a sentence ended before."""
    at = start
    while (match := _STRONG_END_OR_LINE.search(text, at, end)) is not None:
        at = match.end()
        if _is_abbreviation(text, match):
            continue
        following = _next_word(text, at)
        if following >= end:
            return
        blank = match.group() == "\n" and "\n" in text[at:following]
        yield following, blank or match.group() != "\n"
        at = following


def _is_abbreviation(text: str, match: re.Match[str]) -> bool:
    """Say whether the full stop of a match belongs to the word before it, as in "e.g. this", or to a list's number."""
    if not match.group().startswith(".") or match.group().startswith(".."):
        return False
    lead = text[max(0, match.start() - _LONGEST_ABBREVIATION) : match.start()]
    before = _BEFORE_FULL_STOP.search(lead)
    if before is None:
        return False
    word = before.group().casefold()
    if len(word) == 1 or word.strip().isdecimal() or word in _ABBREVIATIONS:
        return True
    following = text[(at := _next_word(text, match.end())) : at + 1]
    if word == "no":
        return following.isdecimal()
    if _INITIALS.fullmatch(word) or word in _CLOSING_ABBREVIATIONS:
        return not following.isalpha() or following.islower()
    return False


def _is_between_words(text: str, at: int) -> bool:
    after = text[at]
    if after.isspace() or text[at - 1].isspace():
        return True
    # In scripts without spaces between letters, never before what closes a sentence or belongs to the letter.
    between_letters = after.isalnum() and text[at - 1].isalnum()
    return between_letters and _HEAVY_CHARACTER.search(text, at - 1, at + 1) is not None


def _is_inside_character(text: str, at: int) -> bool:
    """Say whether what is before and after belongs to one character on the screen: an accent, an emoji's colour."""
    after = text[at]
    return (
        _ZERO_WIDTH_JOINER in text[at - 1 : at + 1]
        or unicodedata.category(after).startswith("M")
        or "\U0001f3fb" <= after <= "\U0001f3ff"
    )


def _next_word(text: str, at: int) -> int:
    found = _NOT_SPACE.search(text, at)
    return len(text) if found is None else found.start()


def _fit_together(held: str, text: str, size: int) -> bool:
    return len(held) + len(text) < size and _weights(held + _BLANK_LINE + text)[-1] <= size


def _weights(text: str) -> Sequence[int]:
    """Return how much a text weighs up to and with each of its characters."""
    if text.isascii() or _HEAVY_CHARACTER.search(text) is None:
        return range(1, len(text) + 1)
    heavy = _HEAVY_WEIGHT  # in line, as a pattern would take ten times as long here
    return list(accumulate([heavy if c >= "\u2e80" or "\u0e00" <= c < "\u1e00" else 1 for c in text]))
