"""Tables as lines of text: every row with the names of its columns, so that any chunk of a table can be understood."""

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice, pairwise, zip_longest

Row = Sequence[str]

_SAMPLE_ROWS = 200
_LONG_LINE = 700
_MAX_SPAN = 100
_MAX_NAME_LENGTH = 80
_NUMBER = re.compile(
    r"[^\w\s]{0,3}\s?[\d.,:/\u00a0'’ -]*\d[\d.,:/\u00a0'’ -]*\s?(?:[^\w\s]{1,3}|[A-Za-z]{1,3}|年|月|日|元)?"
)
_YEAR = re.compile(r"(?:19|20|21)\d\d年?(?:\d\d?月)?|\d\d?月")  # or a month
_RUN = re.compile(r"([^\W\d_]+)|(\d+)")


def table_lines(rows: Iterable[Row], headers: int | None = None, *, sheet: bool = True) -> Iterator[str]:
    """Yield a table as lines: "name: cell; name: cell", or "cell | cell" if it has no header.

    Args:
        headers: Number of header rows, if the document marks them. Otherwise they are detected.
        sheet: Whether a blank row or column separates tables, and a first row of words is a header in case of doubt.
    """
    clean = ([" ".join(cell.split()) for cell in row] for row in rows)
    if headers is not None or not sheet:
        yield from _table(filter(any, clean), headers, [], sheet=sheet)
        return
    previous: list[str] = []
    for filled, block in groupby(clean, key=any):
        if filled:
            previous = yield from _sheet_tables(block, previous)


def _sheet_tables(block: Iterator[Row], previous: list[str]) -> Generator[str, None, list[str]]:
    """Yield the tables side by side between two blank rows, and return the names of the last one's columns."""
    sample = list(islice(block, _SAMPLE_ROWS))
    ranges = list(_column_ranges(sample)) if len(sample) < _SAMPLE_ROWS else []
    parts: list[list[Row]] = [[row[start:end] for row in sample] for start, end in ranges]
    if len(parts) > 1 and all(_header_rows(_without_captions(part), sheet=True) for part in parts):
        for part in parts:
            yield from _table(filter(any, part), None, [], sheet=True)
        return []
    return (yield from _table(chain(sample, block), None, previous, sheet=True))


def _table(
    rows: Iterable[Row], headers: int | None, previous: list[str], *, sheet: bool
) -> Generator[str, None, list[str]]:
    """Yield the lines of one table, and return the names of its columns."""
    rest = iter(rows)
    sample = list(islice(rest, _SAMPLE_ROWS))
    body = _without_captions(sample)
    if headers is not None and len(sample) - len(body) >= headers:  # a header row with a single name
        body = sample
    captions = len(sample) - len(body)
    yield from (next(filter(None, caption)) for caption in sample[:captions])
    count = _header_rows(body, sheet=sheet) if headers is None else min(headers - captions, len(body))
    names = _column_names(body[:count]) if count else previous
    if count == len(body):
        yield from (" | ".join(filter(None, row)) for row in body)
    for row in chain(body[count:], rest):
        yield from _row_lines(row, names)
    return names


def _without_captions(rows: list[Row]) -> list[Row]:
    """Return the rows after the lines above a table, which have a single cell."""
    if not any(_is_wide(row) for row in rows):
        return rows
    return rows[next(number for number, row in enumerate(rows) if _is_wide(row)) :]


def _is_wide(row: Row) -> bool:
    return sum(map(bool, row)) > 1


def _column_ranges(rows: list[Row]) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each run of columns that are not blank."""
    width = max(map(len, rows), default=0)
    filled = [any(number < len(row) and row[number] for row in rows) for number in range(width)]
    start = 0
    for is_filled, run in groupby(filled):
        end = start + len(list(run))
        if is_filled:
            yield start, end
        start = end


def _header_rows(rows: list[Row], *, sheet: bool) -> int:
    """Return the number of rows at the top that name the columns: 0, 1 or 2."""
    if len(rows) < 2:
        return 0
    first, second = rows[0], rows[1]
    grouped = len(set(filter(None, first))) < sum(map(bool, second))
    if len(rows) > 2 and grouped and _is_wide(first) and all(map(_is_name, filter(None, [*first, *second]))):
        with_groups = _column_names(rows[:2])
        if len(set(with_groups)) == len(with_groups) and _has_other_kind(second, rows[2:]):
            return 2
    return int(_is_header(first, rows[1:], sheet=sheet))


def _is_header(first: Row, body: list[Row], *, sheet: bool) -> bool:
    names = [name for name in first if name]
    if len(names) < 2 or len(set(names)) < len(names) or not all(map(_is_name, names)):
        return False
    for number, name in enumerate(first):
        column = [row[number] for row in body if number < len(row) and row[number]]
        is_like_the_column = _has_code(name) and {_shape(name)} == set(map(_shape, column))
        is_year = _YEAR.fullmatch(name) is not None and not all(map(_YEAR.fullmatch, column))
        if name and (name in column or (is_like_the_column and not is_year)):
            return False
    return _has_other_kind(first, body) or sheet or len(names) > 2


def _has_other_kind(first: Row, body: list[Row]) -> bool:
    """Return whether a column contains numbers under a name without one, or under a year."""
    for number, name in enumerate(first):
        column = [row[number] for row in body if number < len(row) and row[number]]
        numbers = [cell for cell in column if _NUMBER.fullmatch(cell)]
        if name and numbers and len(numbers) * 4 >= len(column) * 3 and not all(map(_YEAR.fullmatch, [name, *numbers])):
            return True
    return False


def _is_name(cell: str) -> bool:
    return len(cell) <= _MAX_NAME_LENGTH and (_YEAR.fullmatch(cell) is not None or _NUMBER.fullmatch(cell) is None)


def _has_code(cell: str) -> bool:
    return any(character.isdigit() or character == "@" for character in cell)


def _shape(cell: str) -> str:
    """Replace each run of letters and of digits in a cell by one character: "KF-012" is "a-9"."""
    return _RUN.sub(lambda run: "a" if run[1] else "9", cell)


def _column_names(rows: list[Row]) -> list[str]:
    """Return the names of the columns; the name of a group applies to the columns after it."""
    width = max(map(len, rows), default=0)
    padded = [[*row, *[""] * (width - len(row))] for row in rows]
    for upper in padded[:-1]:
        for before, number in pairwise(range(width)):
            upper[number] = upper[number] or (upper[before] if padded[-1][number] else "")
    return [" ".join(dict.fromkeys(filter(None, column))) for column in zip(*padded, strict=True)]


def _row_lines(row: Row, names: list[str]) -> Iterator[str]:
    """Yield a row as a line; a long one as several, each beginning with the first cell, which mostly names the row."""
    cells = [f"{name}: {cell}" if name else cell for name, cell in zip_longest(names, row, fillvalue="") if cell]
    line, joint = cells[0], "; " if names else " | "
    for cell in cells[1:]:
        if len(line) + len(cell) > _LONG_LINE and line != cells[0]:
            yield line
            line = cells[0]
        line += joint + cell
    yield line


def span(text: str | None) -> int:
    """Return the number of columns or rows that an attribute of a cell says it spans; 1 if it says nothing sensible."""
    number = (text or "").strip()
    return min(max(int(number), 1), _MAX_SPAN) if number.isascii() and number.isdigit() else 1


def grid(rows: list[list[tuple[str, int, str]]]) -> Iterator[list[str]]:
    """Yield the rows of a table with spans: each cell as its text, the columns it spans, and "restart" or "continue".

    A cell that continues the one above has its text. A cell across the whole table stands behind all columns, so that
    it belongs to none.
    """
    width = max((sum(columns for _, columns, _ in row) for row in rows), default=0)
    above: list[str] = []
    for row in rows:
        line: list[str] = []
        for text, columns, merge in row:
            inherited = above[len(line)] if merge == "continue" and len(line) < len(above) else text
            line += [inherited] * columns
        yield [""] * width + line[:1] if len(row) == 1 < width == row[0][1] else line
        above = line
