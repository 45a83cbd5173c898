"""Helpers of the loaders: sections under headings, lines and tables, all of limited size."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_CHARACTERS = 1_000_000  # in a section, and in a line
_DEEPEST = 99
_LINES_PER_SECTION = 200


class Section(NamedTuple):
    """A part of a document that a reader could cite: a page, or the text under a heading."""

    text: str
    page: int | None = None
    heading: str | None = None
    recognised: bool = False  # by OCR
    table: bool = False


class Outline:
    """Collects lines under a path of headings, and yields complete sections.

    A heading is not repeated in the text of its section, unless the section has no other text.
    """

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []
        self._lines: list[str] = []
        self._size = 0
        self._empty = False

    def start_section(self, level: int, title: str) -> Iterator[Section]:
        """Start a section below the nearest heading of a smaller level, and yield the section before it."""
        title = " ".join(title.split())[:500]
        if not title:
            return
        yield from self.finish(next_level=level)
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, title))
        self._empty = True

    def add_line(self, line: str) -> Iterator[Section]:
        """Add a line to the section, and yield the section if it has become too long."""
        self._lines.append(line)
        self._size += len(line)
        if self._size > MAX_CHARACTERS:
            yield from self.finish()

    def add_table(self, lines: Iterable[str]) -> Iterator[Section]:
        """Yield the section before a table, and the table."""
        path = " > ".join(title for _, title in self._path) or None
        for section in line_sections(lines, path):
            if section.text.strip():
                yield from self.finish(next_level=_DEEPEST)
                self._empty = False
                yield section

    def finish(self, next_level: int = 0) -> Iterator[Section]:
        """Yield the current section."""
        text = "\n".join(self._lines)
        self._lines.clear()
        self._size = 0
        path = " > ".join(title for _, title in self._path) or None
        if text.strip():
            self._empty = False
        elif self._empty and next_level <= self._path[-1][0]:
            text = self._path[-1][1]
        yield Section(text, heading=path)


def split_long(blocks: Iterable[str]) -> Iterator[str]:
    """Rearrange blocks of text so that none exceeds the maximum length, cutting at the end of a line if possible."""
    rest = ""
    for block in blocks:
        rest += block
        while len(rest) > MAX_CHARACTERS:
            cut = rest.rfind("\n", MAX_CHARACTERS // 2, MAX_CHARACTERS) + 1 or MAX_CHARACTERS
            yield rest[:cut]
            rest = rest[cut:]
    yield rest


def split_lines(blocks: Iterable[str]) -> Iterator[str]:
    """Yield the lines of some blocks of text without their line ends; a line that is too long is cut."""
    rest = ""
    for block in blocks:
        *lines, rest = (rest + block).split("\n")
        yield from lines
        if len(rest) > MAX_CHARACTERS:
            yield rest
            rest = ""
    yield rest


def line_sections(lines: Iterable[str], heading: str | None = None, page: int | None = None) -> Iterator[Section]:
    """Yield the lines of a table in sections of 200."""
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if len(held) == _LINES_PER_SECTION or size > MAX_CHARACTERS:
            yield Section("\n".join(held), page, heading, table=True)
            held.clear()
            size = 0
    yield Section("\n".join(held), page, heading, table=True)
