"""The loader of workbooks: each sheet as tables, its cells as they are shown, one row in memory at a time."""

import re
import zlib
from collections.abc import Iterator

from lxml import etree

from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.number_formats import BUILTIN_FORMATS, general, shown
from project3_rag_docs.ingestion.parsing.ooxml import Element, Package, attribute, drawing_lines, is_on, local_name
from project3_rag_docs.ingestion.parsing.sections import Section, line_sections
from project3_rag_docs.ingestion.parsing.tables import table_lines

_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\s[^>]*?ref=[\"']([A-Z]+)(\d+):([A-Z]+)(\d+)[\"']")
_MAX_MERGED = 100_000  # cells
_MAX_COLUMNS = 16_384
_LONGEST_TAG = 1000


class XlsxLoader(Loader):
    """Reads workbooks. The number of a sheet counts as its page."""

    kind = "workbook"

    def _sections(self) -> Iterator[Section]:
        package = Package(self._path, self._limits, self.kind)
        main = package.main("xl/workbook.xml")
        book, targets = package.required_tree(main), package.related(main)
        cells = _Cells(package, main, book)
        for number, sheet in enumerate(book.iterfind("{*}sheets/{*}sheet"), start=1):
            kind, name = targets.get(attribute(sheet, "id") or "", ("", ""))
            lines = _sheet_lines(package, name, cells) if kind == "worksheet" else iter(())
            yield from line_sections(lines, heading=sheet.get("name"), page=number)
            yield from line_sections(_around(package, name), heading=sheet.get("name"), page=number)
        if cells.without_result:
            self.notices.append(
                f"{cells.without_result:,} formulas have no stored result; they are read as formulas. "
                "Open the workbook in a spreadsheet program and save it."
            )


def _sheet_lines(package: Package, name: str, cells: "_Cells") -> Iterator[str]:
    try:
        yield from table_lines(_rows(package, name, cells, _Merged(package, name)))
    except (KeyError, zlib.error):
        return  # a sheet without its part


def _around(package: Package, name: str) -> Iterator[str]:
    """Yield the texts of charts, text boxes and comments of a sheet."""
    for drawing, tree in package.trees(name, "drawing"):
        yield from drawing_lines(tree)
        for _, chart in package.trees(drawing, "chart"):
            yield from drawing_lines(chart)
    for _, tree in [*package.trees(name, "comments"), *package.trees(name, "threadedComment")]:
        for comment in tree.iter("{*}comment", "{*}threadedComment"):
            text = " ".join("".join(run.text or "" for run in comment.iter("{*}t", "{*}text")).split())
            yield f"[Comment on {comment.get('ref')}: {text}]"


def _rows(package: Package, name: str, cells: "_Cells", merged: "_Merged") -> Iterator[list[str]]:
    options = {"resolve_entities": False, "no_network": True, "huge_tree": True, "remove_comments": True}
    previous = 0
    with package.open(name) as part:
        for _, row in etree.iterparse(part, tag="{*}row", **options):
            number = int(row.get("r") or previous + 1)
            line = merged.fill(number, dict(cells.row(row))) if len(row) else {}
            if number != previous + 1 and previous:
                yield []
            yield [line.get(column, "") for column in range(max(line, default=-1) + 1)]
            previous = number
            row.clear()
            while row.getprevious() is not None:
                del row.getparent()[0]


class _Merged:
    """Merged cells: each has the text of the first."""

    def __init__(self, package: Package, name: str) -> None:
        self._first: dict[int, dict[int, tuple[int, int]]] = {}  # by row and column, the first cell of the area
        self._texts: dict[tuple[int, int], str] = {}
        total = 0
        for left, top, right, bottom in _merged_areas(package, name):
            columns = range(_column(left), _column(right) + 1)
            rows = range(int(top), int(bottom) + 1)
            total += len(columns) * len(rows)
            if total > _MAX_MERGED:
                return
            for row in rows:
                self._first.setdefault(row, {}).update(dict.fromkeys(columns, (rows[0], columns[0])))

    def fill(self, number: int, line: dict[int, str]) -> dict[int, str]:
        """Add the texts of merged cells to a row. A text alone in its row is moved behind the columns it spans."""
        first = self._first.get(number)
        if not first:
            return line
        for column, (row, at) in first.items():
            if (row, at) == (number, column):
                self._texts[row, at] = line.get(column, "")
        if len(line) == 1 and (column := next(iter(line))) in first and first.get(column + 1) == first[column]:
            return {max(at for at, of in first.items() if of == first[column]) + 1: line[column]}
        texts = {column: self._texts.get(key, "") for column, key in first.items()}
        return line | {column: text for column, text in texts.items() if text}


def _merged_areas(package: Package, name: str) -> Iterator[tuple[bytes, ...]]:
    """Yield the corners of merged areas. They follow the rows, which are not kept until then."""
    rest = b""
    with package.open(name) as part:
        while block := part.read(2**20):
            rest += block
            yield from (found.groups() for found in _MERGED.finditer(rest))
            rest = rest[rest.rfind(b"<") :][:_LONGEST_TAG]


def _column(letters: bytes | str) -> int:
    number = 0
    for letter in letters.decode() if isinstance(letters, bytes) else letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


class _Cells:
    """Reads cells, as their number format shows them."""

    def __init__(self, package: Package, main: str, book: Element) -> None:
        self.without_result = 0
        self._strings = [
            _unescape("".join(run.text or "" for run in item.iter("{*}t") if local_name(run.getparent()) != "rPh"))
            for _, tree in package.trees(main, "sharedStrings")
            for item in tree.iterchildren("{*}si")
        ]
        own, self._formats = {}, []
        for _, tree in package.trees(main, "styles"):
            own = {of.get("numFmtId"): of.get("formatCode") or "" for of in tree.iterfind("{*}numFmts/{*}numFmt")}
            styles = [of.get("numFmtId") or "0" for of in tree.iterfind("{*}cellXfs/{*}xf")]
            self._formats = [own.get(of) or BUILTIN_FORMATS.get(int(of), "") for of in styles]
        self._since_1904 = any(is_on(of, "date1904") for of in book.iterchildren("{*}workbookPr"))

    def row(self, row: Element) -> Iterator[tuple[int, str]]:
        """Yield the column, from 0, and the text of each cell that is not blank."""
        at = -1
        for cell in row.iterchildren("{*}c"):
            letters = (cell.get("r") or "").rstrip("0123456789")
            at = _column(letters) if letters else at + 1
            if len(cell) and (text := self._text(cell)) and at < _MAX_COLUMNS:
                yield at, text

    def _text(self, cell: Element) -> str:
        kind, value = cell.get("t"), cell.findtext("{*}v")
        if kind == "inlineStr":
            return _unescape("".join(run.text or "" for run in cell.iter("{*}t")))
        if not value:
            formula = cell.findtext("{*}f")
            self.without_result += formula is not None
            return f"={formula}" if formula else ""
        if kind == "s":
            return self._strings[int(value)] if value.isdecimal() and int(value) < len(self._strings) else ""
        if kind == "b":
            return "TRUE" if value.strip() == "1" else "FALSE"
        if kind in {"d", "str", "e"}:
            return _unescape(value).removesuffix("T00:00:00")
        return self._number(value, cell.get("s"))

    def _number(self, value: str, style: str | None) -> str:
        try:
            number, at = float(value), int(style or 0)
            form = self._formats[at] if at < len(self._formats) else ""
            return shown(number, form, since_1904=self._since_1904) if form else general(number)
        except (ValueError, ArithmeticError):
            return value


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text
