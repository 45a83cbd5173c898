"""What the loaders have in common: sections under headings, lines, tables, and nothing without bounds."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

MOST_CHARACTERS = 1_000_000  # of one section, and of one line
_ROWS = 200  # of a table in one section


class Section(NamedTuple):
    """A part of a document, as a reader would cite it."""

    text: str
    page: int | None = None
    heading: str | None = None


class Outline:
    """Collects lines of text under a path of headings, and yields what is complete.

    The headings themselves are not repeated in the text, except where one has nothing below it at all.
    """

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []
        self._lines: list[str] = []
        self._size = 0
        self._empty = False

    def heading(self, level: int, title: str) -> Iterator[Section]:
        """Begin a section below the nearest heading of a smaller level; the one before is complete."""
        title = " ".join(title.split())[:500]
        if not title:
            return
        yield from self.end(next_level=level)
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, title))
        self._empty = True

    def add(self, line: str) -> Iterator[Section]:
        """Add a line to the section. Yields only where the section has become too long."""
        self._lines.append(line)
        self._size += len(line)
        if self._size > MOST_CHARACTERS:
            yield from self.end()

    def end(self, next_level: int = 0) -> Iterator[Section]:
        """Yield what was collected."""
        text = "\n".join(self._lines)
        self._lines.clear()
        self._size = 0
        path = " > ".join(title for _, title in self._path) or None
        if text.strip():
            self._empty = False
        elif self._empty and next_level <= self._path[-1][0]:
            text = self._path[-1][1]
        yield Section(text, heading=path)


def bounded(blocks: Iterable[str]) -> Iterator[str]:
    """Join blocks of text and cut them again, none longer than a section may be, at the end of a line if possible."""
    rest = ""
    for block in blocks:
        rest += block
        while len(rest) > MOST_CHARACTERS:
            cut = rest.rfind("\n", MOST_CHARACTERS // 2, MOST_CHARACTERS) + 1 or MOST_CHARACTERS
            yield rest[:cut]
            rest = rest[cut:]
    yield rest


def lines_of(blocks: Iterable[str]) -> Iterator[str]:
    r"""Yield the lines of blocks of text without their ends; one that is too long is several."""
    rest = ""
    for block in blocks:
        *lines, rest = (rest + block).split("\n")
        yield from lines
        if len(rest) > MOST_CHARACTERS:
            yield rest
            rest = ""
    yield rest


def table_sections(rows: Iterable[Sequence[str]], heading: str | None = None) -> Iterator[Section]:
    """Yield a table with each cell named after its column, some hundred rows at a time."""
    lines: list[str] = []
    size = 0
    for line in _table_lines(rows):
        lines.append(line)
        size += len(line)
        if len(lines) == _ROWS or size > MOST_CHARACTERS:
            yield Section("\n".join(lines), heading=heading)
            lines.clear()
            size = 0
    yield Section("\n".join(lines), heading=heading)


def _table_lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Name the cells after the first row that has more than one, unless there is nothing below it."""
    header: Sequence[str] | None = None
    header_is_said = False
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        filled = sum(bool(cell) for cell in cells)
        if header is None and filled > 1:
            header = cells
        elif header is None and filled:
            yield next(filter(None, cells))
        elif header is not None and filled:
            header_is_said = True
            yield "; ".join(_named(header, cells))
    if header is not None and not header_is_said:
        yield row_line(header)


def _named(header: Sequence[str], cells: Sequence[str]) -> Iterator[str]:
    for number, cell in enumerate(cells):
        name = header[number] if number < len(header) else ""
        if cell:
            yield f"{name}: {cell}" if name else cell


def row_line(cells: Iterable[str]) -> str:
    """Return a table's row as a line, or nothing if all of its cells are blank."""
    cells = [" ".join(cell.split()) for cell in cells]
    return " | ".join(cells) if any(cells) else ""
