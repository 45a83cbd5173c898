"""The loaders of plain text, CSV and Markdown."""

import csv
import re
from collections.abc import Iterator

from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.decoding import decode_file
from project3_rag_docs.ingestion.parsing.sections import Outline, Section, line_sections, split_lines, split_long
from project3_rag_docs.ingestion.parsing.tables import table_lines


class TextLoader(Loader):
    """Reads plain text, without headings."""

    kind = "text file"

    def _sections(self) -> Iterator[Section]:
        yield from map(Section, split_long(decode_file(self._path)))


class CsvLoader(Loader):
    """Reads CSV as a table, whichever of the usual delimiters it has."""

    kind = "CSV file"

    def _sections(self) -> Iterator[Section]:
        csv.field_size_limit(self._limits.characters)
        sample, quotes = "", 0
        for block in decode_file(self._path):
            sample = sample or block[:20_000]
            quotes += block.count('"')
        # With a quotation mark that is never closed, the rest of the file would be one cell.
        lines = (line + "\n" for line in split_lines(decode_file(self._path)))
        rows = csv.reader(
            lines, delimiter=_delimiter(sample), quoting=csv.QUOTE_NONE if quotes % 2 else csv.QUOTE_MINIMAL
        )
        yield from line_sections(table_lines(rows))


def _delimiter(sample: str) -> str:
    """Return the delimiter that splits most of the first lines into the same number of cells; then, into most cells."""
    lines = [line for line in sample.split("\n")[:50] if line.strip()]

    def merit(delimiter: str) -> tuple[int, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        usual = max(set(widths), key=widths.count, default=1)
        return (widths.count(usual), usual) if usual > 1 else (0, 0)

    return max(",;\t|", key=merit)


class MarkdownLoader(Loader):
    """Reads Markdown: a section per heading, its text unchanged."""

    kind = "Markdown file"

    def _sections(self) -> Iterator[Section]:
        outline = Outline()
        for level, line in _markdown_lines(split_lines(decode_file(self._path))):
            if level:
                yield from outline.start_section(level, line)
            else:
                yield from outline.add_line(line)
        yield from outline.finish()


_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")
_FENCE = re.compile(r" {0,3}(?:(`{3,})[^`]*|(~{3,}).*)")
_NOT_A_PARAGRAPH = re.compile(r" {4}|\t| {0,3}(?:[-*+>|]|[0-9]+[.)])")


def _markdown_lines(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    """Yield each heading with its level, and each other line with level 0."""
    fence = ""
    held = ""  # a line that becomes a heading if the next line underlines it
    after_text = False
    for number, line in enumerate(lines):
        if fence:
            fence = "" if _closes(fence, line) else fence
            yield 0, line
            continue
        if held:
            underline = _UNDERLINE.fullmatch(line)
            yield (0 if underline is None else 1 if "=" in line else 2), held
            held = ""
            if underline:
                continue
        heading = _HEADING.fullmatch(line)
        if heading:
            yield len(heading[1]), _without_closing_hashes(heading[2] or "")
        elif opening := _FENCE.fullmatch(line):
            fence = opening[1] or opening[2]
            yield 0, line
        elif number == 0 and line.rstrip() == "---":  # front matter
            fence = "---"
            yield 0, line
        elif after_text or not line.strip() or _NOT_A_PARAGRAPH.match(line):
            yield 0, line
        else:
            held = line
        after_text = not heading and bool(line.strip())
    yield 0, held


def _closes(fence: str, line: str) -> bool:
    line = line.rstrip()
    marks = line.lstrip(" ")
    return len(line) - len(marks) <= 3 and len(marks) >= len(fence) and not marks.strip(fence[0])


def _without_closing_hashes(title: str) -> str:
    title = title.rstrip()
    open_ended = title.rstrip("#")
    return open_ended.rstrip() if open_ended != title and open_ended[-1:] in {"", " ", "\t"} else title
