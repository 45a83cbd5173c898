"""The RTF loader: striprtf reads the text; marks for the rows and cells of tables are written into the file before."""

import re
from collections.abc import Iterator

from striprtf.striprtf import rtf_to_text

from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.sections import Section, line_sections, split_long
from project3_rag_docs.ingestion.parsing.tables import table_lines

# Characters for private use: none of them is text.
_ROW_START, _CELL_END, _ROW_END = "\ue000", "\ue001", "\ue002"
_MARKS = {b"trowd": _ROW_START, b"cell": _CELL_END, b"row": _ROW_END}
_TABLE_WORD = re.compile(rb"(?<!\\)\\(trowd|cell|row)(?![a-z])[ ]?")
_BIN_WITHOUT_LENGTH = re.compile(rb"\\bin(?!\d)")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_ROW = re.compile(f"{_ROW_START}([^{_ROW_END}]*){_ROW_END}")


class RtfLoader(Loader):
    """Reads RTF, which has no pages; its headings are like other lines."""

    kind = "RTF file"

    def _sections(self) -> Iterator[Section]:
        source = _TABLE_WORD.sub(_marked, self._path.read_bytes())
        source = _BIN_WITHOUT_LENGTH.sub(rb"\\bin0", source)
        if rb"\bin" not in source:  # which counts the bytes after it
            source = _NOT_ASCII.sub(lambda found: b"\\'%02x" % found[0][0], source)
        read: str = rtf_to_text(source.decode("latin-1"), "cp1252", "replace")  # type: ignore[no-untyped-call]  # no types
        text = read.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # pairs are written one by one
        rows: list[list[str]] = []
        for before, row in _rows(text):
            if before.strip():
                yield from line_sections(table_lines(rows, sheet=False))
                rows = []
                yield from map(Section, split_long([before]))
            rows.append(row)
        yield from line_sections(table_lines(rows, sheet=False))


def _marked(found: re.Match[bytes]) -> bytes:
    return b"{\\uc1\\u%d ?}" % ord(_MARKS[found[1]])


def _rows(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each row of a table with the text before it, and the text after the last one with an empty row."""
    at = 0
    for found in _ROW.finditer(text):
        cells = found[1].replace(_ROW_START, "").split(_CELL_END)[:-1]
        yield text[at : found.start()], cells
        at = found.end()
    yield text[at:].translate(dict.fromkeys(map(ord, _MARKS.values()))), []
