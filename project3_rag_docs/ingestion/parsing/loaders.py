"""The text of every kind of document, in sections, behind LangChain's `BaseLoader`.

A library is imported by the loader that needs it. LangChain's own loaders are not used: importing its `PyPDFLoader`
takes two seconds and numpy, and it lists the labels of all pages for each page; its `CSVLoader` makes a document of
each row, and fails at the first byte that cannot be decoded.
"""

import csv
import re
import zipfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from project3_rag_docs.ingestion.parsing import Limits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.decoding import clean, decoded
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from project3_rag_docs.ingestion.parsing.sections import Outline, Section, bounded, lines_of, row_line, table_sections

if TYPE_CHECKING:
    from lxml.etree import _Element as Element
    from pptx.shapes.base import BaseShape
    from pypdf import PdfReader

_MOST_PARTS = 10_000
_STYLED_HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)


def loader_for(media_type: MediaType, path: Path, limits: Limits | None = None) -> BaseLoader:
    """Return what reads a file.

    Its `lazy_load()` yields one `Document` after the other: text that is not blank, of at most a million characters,
    with the metadata `page` (from 1, or None) and `heading` ("Guide > Install", or None). It raises
    `UnreadableDocument` whatever is wrong with the file, and `MemoryError` if there is not enough for it.

    Args:
        media_type: What the file is; see `decide_media_type`.
        path: The file.
        limits: Of pages and of unpacked bytes. Time, memory and characters are left to the caller.
    """
    return _LOADERS[media_type](path, limits or Limits())


class _Loader(BaseLoader):
    """What every loader does with the sections of its kind."""

    kind: ClassVar[str]

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits

    @abstractmethod
    def _sections(self) -> Iterator[Section]:
        """Yield the sections, blank ones too; raise whatever the library raises."""

    def lazy_load(self) -> Iterator[Document]:
        """Yield the sections that have text."""
        try:
            for section in self._sections():
                heading = clean(section.heading or "") or None
                for part in bounded([clean(section.text)]):
                    if text := part.strip("\n").rstrip():
                        yield Document(text, metadata={"page": section.page, "heading": heading})
        except (UnreadableDocument, MemoryError):
            raise
        except RecursionError as error:
            raise UnreadableDocument(f"The {self.kind} is nested too deeply.") from error
        except Exception as error:
            if _is_out_of_memory(error):
                raise MemoryError from error
            raise UnreadableDocument(f"The {self.kind} cannot be read; it is damaged or incomplete.") from error


def _is_out_of_memory(error: Exception) -> bool:
    of_libxml2 = type(error).__name__ == "XMLSyntaxError" and getattr(error, "code", 0) == 2  # XML_ERR_NO_MEMORY
    return of_libxml2 or "out of memory" in str(error)


class _PdfLoader(_Loader):
    kind = "PDF"

    def _sections(self) -> Iterator[Section]:
        from pypdf import PdfReader  # noqa: PLC0415
        from pypdf.errors import DependencyError, FileNotDecryptedError  # noqa: PLC0415

        with PdfReader(self._path) as reader:
            try:
                pages = len(reader.pages)
            except FileNotDecryptedError as error:
                raise UnreadableDocument("The PDF is protected by a password. Save it without one.") from error
            except DependencyError as error:
                raise UnreadableDocument("The PDF is encrypted. Save it without protection.") from error
            if pages > self._limits.pages:
                raise UnreadableDocument(f"The PDF has more than {self._limits.pages:,} pages.")
            headings = dict(_pdf_headings(reader))
            heading = None
            any_text = False
            for number, page in enumerate(reader.pages, start=1):
                heading = headings.get(number, heading)
                text = page.extract_text()
                any_text = any_text or bool(text.strip())
                yield Section(text, page=number, heading=heading)
        if not any_text:
            raise UnreadableDocument("The PDF has no text in it; it may be scanned images.")


def _pdf_headings(reader: "PdfReader") -> Iterator[tuple[int, str]]:
    """Yield pages and the first heading of the outline on each. A damaged outline is no reason to refuse the text."""
    from pypdf.errors import PyPdfError  # noqa: PLC0415

    with suppress(PyPdfError, LookupError, TypeError, ValueError, AttributeError):
        seen = set()
        for path, destination in _pdf_outline(reader.outline, []):
            page = reader.get_destination_page_number(destination)
            if page is not None and page not in seen:
                seen.add(page)
                yield page + 1, " > ".join(path)


def _pdf_outline(items: Sequence[Any], above: list[str]) -> Iterator[tuple[list[str], Any]]:
    path = above
    for item in items:
        if isinstance(item, list):  # what is below the item before
            yield from _pdf_outline(item, path)
        else:
            path = [*above, " ".join(str(item.title or "").split())[:500]]
            yield path, item


class _OfficeLoader(_Loader):
    """A ZIP archive of XML. It is opened only after its directory was looked at."""

    def _sections(self) -> Iterator[Section]:
        with zipfile.ZipFile(self._path) as archive:
            parts = archive.infolist()
        if len(parts) > _MOST_PARTS:
            raise UnreadableDocument(f"The {self.kind} has more than {_MOST_PARTS:,} parts.")
        if sum(part.file_size for part in parts) > self._limits.expanded_bytes:
            size = self._limits.expanded_bytes // 2**20
            raise UnreadableDocument(f"The {self.kind} is larger than {size:,} MiB when it is unpacked.")
        if any(part.flag_bits & 1 for part in parts):
            raise UnreadableDocument(f"The {self.kind} is protected by a password. Save it without one.")
        yield from self._read()

    @abstractmethod
    def _read(self) -> Iterator[Section]:
        """Yield the sections of an archive that may be opened."""


class _DocxLoader(_OfficeLoader):
    kind = "Word document"

    def _read(self) -> Iterator[Section]:
        import docx  # noqa: PLC0415

        document = docx.Document(str(self._path))
        levels = dict(_heading_styles(document.styles))
        outline = Outline()
        for block in _docx_blocks(document.element.body):
            if block.tag == _W + "tbl":
                for row in block.iterchildren(_W + "tr"):
                    yield from outline.add(row_line(_docx_text(cell) for cell in row.iterchildren(_W + "tc")))
                continue
            level = levels.get(block.style)
            if level is None:
                yield from outline.add(_docx_text(block))
            else:
                yield from outline.heading(level, _docx_text(block))
        yield from outline.end()


_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DOCX_BREAKS = {_W + "tab": "\t", _W + "br": "\n", _W + "cr": "\n", _W + "p": "\n"}
_DOCX_SKIPPED = {  # deleted or moved away, or there a second time for older programs
    _W + "del",
    _W + "moveFrom",
    _W + "pPr",
    _W + "rPr",
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
}


def _heading_styles(styles: Iterable[Any]) -> Iterator[tuple[str, int]]:
    """Yield the styles that make a heading, with its level; a style may be derived from one of Word's own."""
    for style in styles:
        ancestor, depth = style, 0
        while ancestor is not None and depth < 10:
            name = ancestor.name or ""
            if found := _STYLED_HEADING.fullmatch(name):
                yield style.style_id, int(found[1])
                break
            if name.lower() == "title":
                yield style.style_id, 0
                break
            ancestor, depth = getattr(ancestor, "base_style", None), depth + 1


def _docx_blocks(element: "Element") -> Iterator[Any]:
    """Yield the paragraphs and tables in order, those in content controls too."""
    for child in element.iterchildren("*"):
        if child.tag in {_W + "p", _W + "tbl"}:
            yield child
        elif child.tag not in _DOCX_SKIPPED:
            yield from _docx_blocks(child)


def _docx_text(element: "Element") -> str:
    return "".join(_docx_pieces(element)).strip()


def _docx_pieces(element: "Element") -> Iterator[str]:
    for child in element.iterchildren("*"):
        if child.tag == _W + "t":
            yield child.text or ""
        elif child.tag not in _DOCX_SKIPPED:
            yield _DOCX_BREAKS.get(child.tag, "")
            yield from _docx_pieces(child)


class _PptxLoader(_OfficeLoader):
    kind = "presentation"

    def _read(self) -> Iterator[Section]:
        import pptx  # noqa: PLC0415

        for number, slide in enumerate(pptx.Presentation(str(self._path)).slides, start=1):
            title = slide.shapes.title
            heading = " ".join(title.text_frame.text.split()) if title is not None else None
            below = [line for line in _shape_lines(slide.shapes, title) if line.strip()]
            if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) and notes.text.strip():
                below.append(notes.text)
            yield Section("\n".join(below) or heading or "", page=number, heading=heading)


def _shape_lines(shapes: Iterable[Any], title: "BaseShape | None") -> Iterator[str]:
    for shape in shapes:
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if hasattr(shape, "shapes"):  # a group
            yield from _shape_lines(shape.shapes, title)
        elif shape.has_text_frame:
            yield shape.text_frame.text
        elif getattr(shape, "has_table", False):
            yield from (row_line(cell.text for cell in row.cells) for row in shape.table.rows)


class _XlsxLoader(_OfficeLoader):
    kind = "workbook"

    def _read(self) -> Iterator[Section]:
        import openpyxl  # noqa: PLC0415

        # From a path it would want a certain suffix.
        with (
            self._path.open("rb") as file,
            closing(openpyxl.load_workbook(file, read_only=True, data_only=True)) as workbook,
        ):
            for sheet in workbook.worksheets:
                sheet.reset_dimensions()  # they may claim sixteen thousand columns for three
                rows = ([_cell_text(value) for value in row] for row in sheet.iter_rows(values_only=True))
                yield from table_sections(rows, heading=sheet.title)


def _cell_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)


class _CsvLoader(_Loader):
    kind = "CSV file"

    def _sections(self) -> Iterator[Section]:
        delimiter = _delimiter(next(bounded(decoded(self._path)))[:20_000])
        rows = csv.reader((line + "\n" for line in lines_of(decoded(self._path))), delimiter=delimiter)
        try:
            yield from table_sections(rows)
        except csv.Error as error:
            raise UnreadableDocument("The CSV file cannot be read; a quotation mark may not be closed.") from error


def _delimiter(sample: str) -> str:
    """Return the delimiter that cuts most of the first lines into equally many cells, and then into most."""
    lines = [line for line in sample.split("\n")[:50] if line.strip()]

    def merit(delimiter: str) -> tuple[int, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        usual = max(set(widths), key=widths.count, default=1)
        return (widths.count(usual), usual) if usual > 1 else (0, 0)

    return max(",;\t|", key=merit)


class _HtmlLoader(_Loader):
    kind = "HTML page"

    def _sections(self) -> Iterator[Section]:
        from lxml.etree import HTMLParser  # noqa: PLC0415

        from project3_rag_docs.ingestion.parsing.html import VisibleText, declared_encoding  # noqa: PLC0415

        visible = VisibleText()
        parser = HTMLParser(target=visible, no_network=True)
        with self._path.open("rb") as file:
            encoding = declared_encoding(file.read(4096))
        for block in decoded(self._path, declared=encoding):
            parser.feed(block)
            yield from visible.take()
        parser.close()
        yield from visible.take()


class _MarkdownLoader(_Loader):
    kind = "Markdown file"

    def _sections(self) -> Iterator[Section]:
        outline = Outline()
        for level, line in _markdown_lines(lines_of(decoded(self._path))):
            if level:
                yield from outline.heading(level, line)
            else:
                yield from outline.add(line)
        yield from outline.end()


_MARKDOWN_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?")
_MARKDOWN_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")
_MARKDOWN_FENCE = re.compile(r" {0,3}(?:(`{3,})[^`]*|(~{3,}).*)")
_MARKDOWN_NO_PARAGRAPH = re.compile(r" {4}|\t| {0,3}(?:[-*+>|]|[0-9]+[.)])")


def _markdown_lines(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    """Yield headings with their level, and all other lines with level 0, as they are."""
    fence = ""
    held = ""  # a line that the next one, if it underlines it, makes a heading
    after_text = False
    for number, line in enumerate(lines):
        if fence:
            fence = "" if _closes(fence, line) else fence
            yield 0, line
            continue
        if held:
            underline = _MARKDOWN_UNDERLINE.fullmatch(line)
            yield (0 if underline is None else 1 if "=" in line else 2), held
            held = ""
            if underline:
                continue
        heading = _MARKDOWN_HEADING.fullmatch(line)
        if heading:
            yield len(heading[1]), _without_closing_hashes(heading[2] or "")
        elif opening := _MARKDOWN_FENCE.fullmatch(line):
            fence = opening[1] or opening[2]
            yield 0, line
        elif number == 0 and line.rstrip() == "---":  # the fields in front of the text
            fence = "---"
            yield 0, line
        elif after_text or not line.strip() or _MARKDOWN_NO_PARAGRAPH.match(line):
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


class _TextLoader(_Loader):
    kind = "text file"

    def _sections(self) -> Iterator[Section]:
        yield from map(Section, bounded(decoded(self._path)))


_LOADERS: dict[MediaType, type[_Loader]] = {
    MediaType.PDF: _PdfLoader,
    MediaType.DOCX: _DocxLoader,
    MediaType.PPTX: _PptxLoader,
    MediaType.XLSX: _XlsxLoader,
    MediaType.CSV: _CsvLoader,
    MediaType.HTML: _HtmlLoader,
    MediaType.MARKDOWN: _MarkdownLoader,
    MediaType.TEXT: _TextLoader,
}
