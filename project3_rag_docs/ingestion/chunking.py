"""Split documents into chunks that fit an embedding model, at paragraph, sentence and clause boundaries."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from langchain_core.documents import Document

from project3_rag_docs.ingestion.noise import has_words, remove_noise

# A character weighs one in alphabets, and three in scripts whose characters are syllables or words; emoji, too.
_HEAVY = "\u0e00-\u1dff\u2e80-\U0010ffff"
_HEAVY_CHARACTER = re.compile(f"[{_HEAVY}]")
_HEAVY_WEIGHT = 3

_CLOSING_MARKS = "[\"'”’»)\\]」』）】》〉］]{0,3}"
_STRONG_END = re.compile(
    f"(?<![.!?…])[.!?…؟۔।]{{1,4}}{_CLOSING_MARKS}(?=\\s)"  # more than four are the leader of a table of contents
    f"|(?:[。！？；｡]|……|[!?](?=[{_HEAVY}])){{1,9}}{_CLOSING_MARKS}"
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
# Abbreviations that may end a sentence: they do if a capital letter follows.
_OFTEN_LAST = "etc al inc ltd co corp jr sr jan feb mar apr jun jul aug sep sept oct nov dec"
_ABBREVIATIONS = frozenset(_NEVER_LAST.split())
_CLOSING_ABBREVIATIONS = frozenset(_OFTEN_LAST.split())
_MAX_ABBREVIATION_LENGTH = 12

_BLANK_LINE = "\n\n"
_ZERO_WIDTH_JOINER = "\u200d"
_TABLE_SHARE = 3  # of a chunk's size, for the rows of a table
_MAX_SEQUENCE_LENGTH = 16  # code points that are displayed as one character


@dataclass(frozen=True)
class Chunk:
    """A passage of a document, verbatim but for noise."""

    text: str
    page: int | None
    heading: str | None
    recognised: bool = False
    table: bool = False


def indexed_text(heading: str | None, text: str) -> str:
    """Return the text under which a chunk is indexed: a paragraph often names its subject only in the heading."""
    return f"{heading}\n{text}" if heading else text


def split_sections(sections: Iterable[Document], size: int = 1200, overlap: int = 150) -> Iterator[Chunk]:
    """Split sections into chunks, lazily: one section is in memory at a time.

    Consecutive sections with the same page and heading are merged, with a blank line between them, as long as they fit
    into one chunk. No chunk is without words, and none crosses a change of page or heading. Noise (`noise.py`) is left
    out.

    Args:
        sections: With `page`, `heading`, `recognised` and `table` in their metadata; each may be None or missing.
        size: Maximum weight of a chunk. A character of an alphabet weighs one, a Chinese one three: an embedding model
            reads about 512 tokens, and 1,200 letters of English are about 300 tokens, as are 400 Chinese characters.
        overlap: Maximum weight of the end of a chunk that is repeated at the start of the next one.

    Raises:
        ValueError: if the size is too small, or the overlap is more than half of it.
    """
    for section in _merge_sections(sections, size):
        spans = _row_spans(section.text, size) if section.table else chunk_spans(section.text, size, overlap)
        for start, end in spans:
            if has_words(section.text[start:end]):
                yield replace(section, text=section.text[start:end])


def chunk_spans(text: str, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each chunk of a text, in time proportional to its length.

    Together the chunks contain everything but white space. A chunk ends at the last boundary that fits: before a blank
    line, after a sentence, a line, a clause or a word, and otherwise anywhere. It starts with the last sentences of the
    previous chunk, if these fit into the overlap.

    Args:
        size: Maximum weight of a chunk.
        overlap: Maximum weight that two chunks share.

    Raises:
        ValueError: if the size is too small, or the overlap is more than half of it.
    """
    if size < 2 * _HEAVY_WEIGHT or not 0 <= 2 * overlap <= size:
        msg = f"cannot split into chunks of {size} with an overlap of {overlap}"
        raise ValueError(msg)
    end = len(text.rstrip())
    start = new = _next_word(text, 0)  # from `start` to `new`, a chunk repeats the one before
    while new < end:
        cut = _cut(text, start, new, end, size)
        stop = start + len(text[start:cut].rstrip())
        yield start, stop
        new = _next_word(text, cut)
        start = _overlap_start(text, start, stop, new, overlap)


def _row_spans(text: str, size: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each chunk of a table's lines: few rows, since each has its own subject."""
    limit = max(size // _TABLE_SHARE, 2 * _HEAVY_WEIGHT)
    start = end = 0
    for line in text.splitlines(keepends=True):
        if end > start and _weights(text[start : end + len(line)])[-1] > limit:
            yield from _within(text, start, end, size)
            start = end
        end += len(line)
    if end > start:
        yield from _within(text, start, end, size)


def _within(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    return ((start + left, start + right) for left, right in chunk_spans(text[start:end], size, 0))


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences and lines, each with the white space after it; joined, they equal the text."""
    found: list[str] = []
    start = 0
    for end, _ in _sentence_starts(text, _next_word(text, 0), len(text)):
        found.append(text[start:end])
        start = end
    if start < len(text):
        found.append(text[start:])
    return found


def _merge_sections(sections: Iterable[Document], size: int) -> Iterator[Chunk]:
    """Yield the sections, merging small neighbours with the same metadata."""
    held: Chunk | None = None
    for section in sections:
        text, of = remove_noise(section.page_content), section.metadata
        if not has_words(text):
            continue
        here = Chunk(
            text, of.get("page"), _clean_heading(of.get("heading")), bool(of.get("recognised")), bool(of.get("table"))
        )
        if held and here == replace(held, text=text) and _fit_in_one_chunk(held.text, text, size):
            held = replace(held, text=held.text + _BLANK_LINE + text)
            continue
        if held:
            yield held
        held = here
    if held:
        yield held


def _clean_heading(heading: str | None) -> str | None:
    return heading and (" ".join(remove_noise(heading).split()) or None)


def _cut(text: str, start: int, new: int, end: int, size: int) -> int:
    """Return the end of the chunk that starts at `start`: after `new`, and at most `size` from the start."""
    # Look a quarter beyond the chunk: the last two chunks then share the rest instead of leaving a tiny one.
    sums = _weights(text[start : min(end, start + size + size // 4 + 1)])
    limit = start + bisect_right(sums, size)
    if limit >= end:
        return end
    floor, goal = start + bisect_right(sums, size // 2), limit
    if start + len(sums) == end and 4 * sums[-1] <= 5 * size:
        floor, goal, limit = (start + bisect_right(sums, sums[-1] * quarters // 4) for quarters in (1, 2, 3))
    floor, goal, limit = max(floor, new), max(goal, new + 1), max(limit, new + 1)
    for ends in (_PARAGRAPH_END, _STRONG_END, _LINE_END, _CLAUSE_END):
        found = _cut_positions(text, ends, floor, limit)
        if found:
            return min(found, key=lambda at: abs(at - goal))
    for cut in range(goal, new, -1):
        if _is_between_words(text, cut):
            return cut
    for cut in range(goal, max(new, goal - _MAX_SEQUENCE_LENGTH), -1):
        if not _is_inside_character(text, cut):
            return cut
    return goal


def _cut_positions(text: str, ends: re.Pattern[str], floor: int, limit: int) -> list[int]:
    found = ends.finditer(text, floor, limit + 1)  # one more, to see the space after the last character
    return [match.end() for match in found if floor < match.end() <= limit and not _is_abbreviation(text, match)]


def _overlap_start(text: str, start: int, stop: int, new: int, overlap: int) -> int:
    """Return the start of the next chunk: the first sentence within the overlap, or `new` if there is none.

    A sentence start that is known only from a line break may be in the middle of a sentence, so others are preferred.
    """
    backwards = _weights(text[max(start + 1, new - overlap) : new][::-1])
    earliest = new - bisect_right(backwards, overlap)
    line = new
    for at, strong in _sentence_starts(text, max(start, earliest - 2 * _MAX_SEQUENCE_LENGTH), stop):
        if at >= earliest and strong:
            return at
        if at >= earliest:
            line = min(line, at)
    return line


def _sentence_starts(text: str, start: int, end: int) -> Iterator[tuple[int, bool]]:
    """Yield the start of each sentence and line between `start` and `end`, and whether a sentence ended before it."""
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
    """Return whether a matched full stop belongs to an abbreviation, as in "e.g. this", or to the number of a list."""
    if not match.group().startswith(".") or match.group().startswith(".."):
        return False
    lead = text[max(0, match.start() - _MAX_ABBREVIATION_LENGTH) : match.start()]
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
    # In scripts without spaces: between two letters only, and never before a closing or combining mark.
    between_letters = after.isalnum() and text[at - 1].isalnum()
    return between_letters and _HEAVY_CHARACTER.search(text, at - 1, at + 1) is not None


def _is_inside_character(text: str, at: int) -> bool:
    """Return whether a position is inside one displayed character, such as before an accent or an emoji's colour."""
    after = text[at]
    return (
        _ZERO_WIDTH_JOINER in text[at - 1 : at + 1]
        or unicodedata.category(after).startswith("M")
        or "\U0001f3fb" <= after <= "\U0001f3ff"
    )


def _next_word(text: str, at: int) -> int:
    found = _NOT_SPACE.search(text, at)
    return len(text) if found is None else found.start()


def _fit_in_one_chunk(held: str, text: str, size: int) -> bool:
    return len(held) + len(text) < size and _weights(held + _BLANK_LINE + text)[-1] <= size


def _weights(text: str) -> Sequence[int]:
    """Return the cumulative weight of a text, including each of its characters in turn."""
    if text.isascii() or _HEAVY_CHARACTER.search(text) is None:
        return range(1, len(text) + 1)
    heavy = _HEAVY_WEIGHT  # comparisons instead of a pattern, which would be ten times as slow here
    return list(accumulate([heavy if c >= "\u2e80" or "\u0e00" <= c < "\u1e00" else 1 for c in text]))
