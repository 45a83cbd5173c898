"""The HTML loader: the visible text of a page, collected by a streaming parser that builds no tree."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.decoding import decode_file
from project3_rag_docs.ingestion.parsing.sections import MAX_CHARACTERS, Outline, Section
from project3_rag_docs.ingestion.parsing.tables import grid, span, table_lines

_INVISIBLE = {
    *("head", "script", "style", "noscript", "template", "nav", "svg", "math", "iframe", "object", "canvas"),
    *("button", "select", "textarea", "datalist"),
}
_INLINE = {
    *("a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img", "ins", "kbd"),
    *("label", "mark", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt"),
    *("u", "var", "wbr", "input"),
}
_MAX_HEAD = 64 * 1024  # in which a page declares its encoding
_MAX_CELL = 2_000  # characters; with more, a table only arranges the page
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{1,40})"
    rb"|^\s*<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{1,40})",
    re.IGNORECASE,
)


class HtmlLoader(Loader):
    """Reads HTML with lxml: a section per heading."""

    kind = "HTML page"

    def _sections(self) -> Iterator[Section]:
        from lxml.etree import HTMLParser  # noqa: PLC0415  a slow import, needed for this format only

        visible = VisibleText()
        parser = HTMLParser(target=visible, no_network=True)
        with self._path.open("rb") as file:
            encoding = declared_encoding(file.read(_MAX_HEAD))
        for block in decode_file(self._path, declared=encoding):
            parser.feed(block)
            yield from visible.pop_sections()
        parser.close()
        yield from visible.pop_sections()


def declared_encoding(head: bytes) -> str | None:
    """Return the encoding that the first bytes of a page declare, if any."""
    found = _CHARSET.search(head)
    return (found[1] or found[2]).decode("ascii") if found else None


class VisibleText:
    """A parser target for lxml that collects the sections of a page."""

    def __init__(self) -> None:
        self._outline = Outline()
        self._complete: list[Section] = []
        self._line: list[str] = []
        self._length = 0
        self._table: _Table | None = None
        self._hidden = 0  # depth of open elements, counted from the outermost hidden one
        self._preformatted = 0
        self._heading: str | None = None

    def pop_sections(self) -> Iterator[Section]:
        """Yield the sections that are complete, and forget them."""
        yield from self._complete
        self._complete.clear()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Handle a start tag."""
        if self._hidden or tag in _INVISIBLE or _is_hidden(attributes):
            self._hidden += 1
            return
        if tag not in _INLINE:
            self._end_line()
        if tag == "table" or (self._table and _level(tag)):
            is_nested = self._table is not None
            self._end_table(as_lines=True)
            self._table = None if is_nested else _Table()
        elif self._table:
            self._table.start(tag, attributes)
        if tag == "pre":
            self._preformatted += 1
        if _level(tag):
            self._heading = tag

    def end(self, tag: str) -> None:
        """Handle an end tag. The parser calls this for void elements and for missing end tags, too."""
        if self._hidden:
            self._hidden -= 1
            return
        if tag == self._heading:
            self._complete.extend(self._outline.start_section(_level(tag), "".join(self._line)))
            self._line.clear()
            self._length = 0
            self._heading = None
        if tag not in _INLINE:
            self._end_line()
        if tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)
        elif tag == "table":
            self._end_table()

    def data(self, text: str) -> None:
        """Handle text between tags."""
        if self._hidden:
            return
        self._line.append(text)
        self._length += len(text)
        if self._length > MAX_CHARACTERS:
            self._end_line()

    def close(self) -> None:
        """Handle the end of the page."""
        self._end_line()
        self._end_table()
        self._complete.extend(self._outline.finish())

    def _end_line(self) -> None:
        if self._heading is not None and self._length <= MAX_CHARACTERS:
            self._line.append(" ")  # a line break in a heading is a space
            return
        text = "".join(self._line)
        self._line.clear()
        self._length = 0
        text = text.strip("\n") if self._preformatted else " ".join(text.split())
        if not text.strip():
            return
        if self._table and self._table.add(text):
            return
        self._end_table(as_lines=True)
        self._complete.extend(self._outline.add_line(text))

    def _end_table(self, *, as_lines: bool = False) -> None:
        table, self._table = self._table, None
        if table:
            if not as_lines:
                self._complete.extend(self._outline.add_table(table.lines()))
                return
            for line in table.plain_lines():
                self._complete.extend(self._outline.add_line(line))


class _Table:
    """A table of data. One that contains headings, tables or long texts only arranges the page: it has plain lines."""

    def __init__(self) -> None:
        self._rows: list[list[_TableCell]] = []
        self._captions: list[str] = []
        self._in_cell = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Handle the start of a row, a cell or a caption."""
        if tag == "tr":
            self._rows.append([])
        elif tag in {"td", "th"}:
            if not self._rows:
                self._rows.append([])
            cell = _TableCell(tag == "th", span(attributes.get("colspan")), span(attributes.get("rowspan")))
            self._rows[-1].append(cell)
        if tag not in _INLINE:
            self._in_cell = tag in {"td", "th"} or (self._in_cell and tag not in {"tr", "caption"})

    def add(self, text: str) -> bool:
        """Add a line; return whether it is short enough for a table of data."""
        if not self._in_cell:
            self._captions.append(text)
            return True
        cell = self._rows[-1][-1]
        if len(cell.text) + len(text) > _MAX_CELL:
            return False
        cell.text = f"{cell.text}\n{text}" if cell.text else text
        return True

    def plain_lines(self) -> Iterator[str]:
        """Yield the texts without their arrangement."""
        yield from self._captions
        yield from (cell.text for row in self._rows for cell in row if cell.text)

    def lines(self) -> Iterator[str]:
        """Yield the rows, with the names of the columns."""
        yield from self._captions
        rows = [row for row in self._rows if row]
        headers = len(list(takewhile(lambda row: len(row) > 1 and all(cell.is_header for cell in row), rows)))
        spans = [[(cell.text, cell.columns, "") for cell in row] for row in _without_row_spans(rows)]
        yield from table_lines(grid(spans), headers or None, sheet=False)


@dataclass
class _TableCell:
    is_header: bool
    columns: int
    rows: int
    text: str = ""


def _without_row_spans(rows: list[list[_TableCell]]) -> Iterator[list[_TableCell]]:
    """Yield the rows with every cell repeated in the rows that it spans."""
    open_cells: dict[int, tuple[_TableCell, int]] = {}  # by column, with the number of rows left
    for row in rows:
        line: list[_TableCell] = []
        own, at = iter(row), 0
        while True:
            cell, left = open_cells.pop(at, (None, 0))
            if cell is None and (cell := next(own, None)):
                left = cell.rows
            if cell is None:
                break
            if left > 1:
                open_cells[at] = cell, left - 1
            line.append(cell)
            at += cell.columns
        yield line


def _is_hidden(attributes: dict[str, str]) -> bool:
    return "hidden" in attributes or bool(_HIDDEN_STYLE.search(attributes.get("style", "")))


def _level(tag: str) -> int:
    return int(tag[1]) if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456" else 0
