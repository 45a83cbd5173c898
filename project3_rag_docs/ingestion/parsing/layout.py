"""The lines of a page in reading order: tables row by row, columns of prose one after the other."""

import ctypes
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import mean

from pypdfium2 import PdfTextPage, raw

from project3_rag_docs.ingestion.parsing.tables import table_lines

_LINE = re.compile(r"[^\r\n]+")
_GAP_IN_HEIGHTS = 0.9  # of the characters, between two cells
_MIN_ROWS = 3
_PROSE_CHARACTERS = 20  # average in a line of a column
_MAX_ANGLES = 200

Box = tuple[float, float, float, float]  # left, bottom, right, top


@dataclass(frozen=True)
class Cell:
    """A piece of a line, between two gaps."""

    text: str
    left: float
    right: float


@dataclass(frozen=True)
class Line:
    """A line of a page."""

    text: str
    cells: Sequence[Cell]
    y: float  # upwards
    height: float


def page_text(page: PdfTextPage) -> str:
    r"""Return the text of a page in the order in which it was drawn, with one character for each of PDFium's.

    The sign for a hyphen at the end of a line is `\ufffe`. A character beyond the Basic Multilingual Plane is two for
    PDFium; here a lone surrogate follows it.
    """
    codes = [raw.FPDFText_GetUnicode(page.raw, at) for at in range(page.count_chars())]
    characters = [chr(code) if code <= sys.maxunicode else "\ufffd" for code in codes]
    for at, (code, following) in enumerate(zip(codes, [*codes[1:], 0], strict=False)):
        if 0xD800 <= code < 0xDC00 <= following < 0xE000:
            characters[at] = chr(0x10000 + (code - 0xD800) * 0x400 + following - 0xDC00)
        elif code < 32 and raw.FPDFText_IsHyphen(page.raw, at) == 1:
            characters[at] = "\ufffe"
    return "".join(characters)


def page_lines(page: PdfTextPage, text: str) -> Iterator[tuple[str, bool]]:
    """Yield the lines of a page whose text `page_text` has returned; see `arranged`."""
    turns = _quarter_turns(page)
    measured = (_measured(page, found, turns) for found in _LINE.finditer(text))
    yield from arranged([line for line in measured if line is not None])


def arranged(drawn: list[Line]) -> Iterator[tuple[str, bool]]:
    """Yield the text of lines in reading order, and whether they are rows of a table."""
    lines = _merge_columns(drawn)
    at = 0
    while at < len(lines):
        rows = list(_rows(lines[at:])) if len(lines[at].cells) > 1 else []
        if len(rows) < _MIN_ROWS:
            yield lines[at].text, False
            at += 1
            continue
        at += len(rows)
        if _is_prose(rows):
            yield from ((line, False) for line in _prose(rows))
        else:
            cells = [[cell.text if cell else "" for cell in row] for row in rows]
            yield from ((line, True) for line in table_lines(cells, sheet=False))


def _quarter_turns(page: PdfTextPage) -> int:
    """Return the direction of most of the text on a page: 0 if it goes to the right, 1 up, 2 to the left, 3 down."""
    total = page.count_chars()
    angles = (raw.FPDFText_GetCharAngle(page.raw, at) for at in range(0, total, 1 + total // _MAX_ANGLES))
    turns = Counter(-round(angle * 2 / math.pi) % 4 for angle in angles if angle >= 0)  # they are clockwise
    return turns.most_common(1)[0][0] if turns else 0


def _measured(page: PdfTextPage, found: re.Match[str], turns: int) -> Line | None:
    """Return a line with its cells: PDFium puts a space of its own into every gap."""

    def box(at: int) -> Box:
        return _turned(character_box(page, start + at), turns)

    line, start = found[0], found.start()
    if not line.strip():
        return None
    end = len(line.rstrip()) - 1
    begin = len(line) - len(line.lstrip())
    first = box(begin)
    height = max(first[3] - first[1], 1.0)
    cells, left, from_at = [], first, begin
    for space in re.finditer(r"\s+", line[: end + 1]):
        if space.start() <= begin:
            continue
        before, after = box(space.start() - 1), box(space.end())
        if max(after[0] - before[2], before[0] - after[2]) > _GAP_IN_HEIGHTS * max(height, before[3] - before[1]):
            cells.append(_cell(line[from_at : space.start()], left, before))
            left, from_at = after, space.end()
    cells.append(_cell(line[from_at : end + 1], left, box(end)))
    return Line(line.strip(), cells, first[1], height)


def character_box(page: PdfTextPage, at: int) -> Box:
    """Return the box of a character of a page."""
    box = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(page.raw, at, ctypes.byref(box))
    return box.left, box.bottom, box.right, box.top


def _turned(box: Box, turns: int) -> Box:
    """Turn a box clockwise by quarters, so that text in that direction goes to the right."""
    for _ in range(turns):
        left, bottom, right, top = box
        box = bottom, -right, top, -left
    return box


def _cell(text: str, first: Sequence[float], last: Sequence[float]) -> Cell:
    return Cell(text, min(first[0], last[0]), max(first[2], last[2]))


def _merge_columns(lines: list[Line]) -> list[Line]:
    """Put the rows of a table together that was drawn column by column."""
    runs: list[list[Line]] = []
    for line in _joined(lines):
        if runs and line.y <= runs[-1][-1].y + line.height / 2:
            runs[-1].append(line)
        else:
            runs.append([line])
    merged = runs[:1]
    for run in runs[1:]:
        if _is_next_column(merged[-1], run):
            merged[-1] = _beside(merged[-1], run)
        else:
            merged.append(run)
    return list(chain.from_iterable(merged))


def _joined(lines: list[Line]) -> list[Line]:
    """Join neighbours at one height: PDFium begins a new line before a single digit."""
    joined = lines[:1]
    for line in lines[1:]:
        if _at_height(joined[-1:], line) and joined[-1].cells[-1].right <= line.cells[0].left:
            joined[-1:] = _beside(joined[-1:], [line])
        else:
            joined.append(line)
    return joined


def _is_next_column(run: list[Line], column: list[Line]) -> bool:
    """Return whether lines are further cells of the rows in a run, whose last lines can be above the table."""
    if len(column) < 2 or any(len(line.text) > 2 * _PROSE_CHARACTERS for line in column):
        return False
    beside = [(left, right) for right in column if (left := _at_height(run, right)) is not None]
    short = mean(len(line.cells[-1].text) for line in run) <= _PROSE_CHARACTERS or len(run[0].cells) > 1
    return (
        len(beside) == len(column)
        and short
        and all(left.cells[-1].right <= right.cells[0].left for left, right in beside)
    )


def _at_height(run: list[Line], line: Line) -> Line | None:
    return next((other for other in run if abs(other.y - line.y) <= 0.4 * line.height), None)


def _beside(run: list[Line], column: list[Line]) -> list[Line]:
    return [
        line
        if (other := _at_height(column, line)) is None
        else replace(line, text=f"{line.text} {other.text}", cells=[*line.cells, *other.cells])
        for line in run
    ]


def _rows(lines: Sequence[Line]) -> Iterator[list[Cell | None]]:
    """Yield the rows of the table that begins with the first line, each with a cell or None in every column."""
    columns: list[tuple[float, float]] = []
    placed: list[dict[int, Cell]] = []
    for line in lines:
        row: dict[int, Cell] = {}
        known = list(columns)
        for cell in line.cells:
            over = [at for at, (left, right) in enumerate(known) if left < cell.right and cell.left < right]
            if len(over) > 1 or (over and over[0] in row):
                break
            if over:
                left, right = known[over[0]]
                known[over[0]] = min(left, cell.left), max(right, cell.right)
                row[over[0]] = cell
            else:
                known.append((cell.left, cell.right))
                row[len(known) - 1] = cell
        if len(row) < len(line.cells) or (len(row) < 2):
            break
        columns = known
        placed.append(row)
    order = sorted(range(len(columns)), key=lambda at: columns[at])
    for row in placed:
        yield [row.get(at) for at in order]


def _is_prose(rows: list[list[Cell | None]]) -> bool:
    """Return whether the columns are prose: almost every line is long and fills its column."""
    for column in zip(*rows, strict=True):
        cells = [cell for cell in column if cell]
        width = max(cell.right for cell in cells) - min(cell.left for cell in cells)
        if mean(len(cell.text) for cell in cells) < _PROSE_CHARACTERS:
            return False
        if mean(cell.right - cell.left for cell in cells) < 0.75 * width:
            return False
    return True


def _prose(rows: list[list[Cell | None]]) -> Iterator[str]:
    for column in zip(*rows, strict=True):
        yield from (cell.text for cell in column if cell)
