"""The loaders of Office files: docx, pptx and xlsx."""

import re
import zipfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime, time
from typing import TYPE_CHECKING, Any

from project3_rag_docs.ingestion.parsing import UnreadableDocument
from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.sections import Outline, Section, row_line, table_sections

if TYPE_CHECKING:
    from lxml.etree import _Element as Element
    from pptx.shapes.base import BaseShape

_MAX_PARTS = 10_000


class _OfficeLoader(Loader):
    """Checks the directory of an Office file, a ZIP archive of XML, before a library opens it."""

    def _sections(self) -> Iterator[Section]:
        with zipfile.ZipFile(self._path) as archive:
            parts = archive.infolist()
        if len(parts) > _MAX_PARTS:
            raise UnreadableDocument(f"The {self.kind} has more than {_MAX_PARTS:,} parts.")
        if sum(part.file_size for part in parts) > self._limits.unpacked_bytes:
            size = self._limits.unpacked_bytes // 2**20
            raise UnreadableDocument(f"The {self.kind} is larger than {size:,} MiB when it is unpacked.")
        if any(part.flag_bits & 1 for part in parts):
            raise UnreadableDocument(f"The {self.kind} is protected by a password. Save it without one.")
        yield from self._read()

    @abstractmethod
    def _read(self) -> Iterator[Section]:
        """Yield the sections of an archive that passed the checks."""


class DocxLoader(_OfficeLoader):
    """Reads Word documents with python-docx: a section per heading, tables as lines."""

    kind = "Word document"

    def _read(self) -> Iterator[Section]:
        import docx  # noqa: PLC0415  a slow import, needed for this format only

        document = docx.Document(str(self._path))
        levels = dict(_heading_styles(document.styles))
        outline = Outline()
        for block in _docx_blocks(document.element.body):
            if block.tag == _W + "tbl":
                for row in block.iterchildren(_W + "tr"):
                    yield from outline.add_line(row_line(_docx_text(cell) for cell in row.iterchildren(_W + "tc")))
                continue
            level = levels.get(block.style)
            if level is None:
                yield from outline.add_line(_docx_text(block))
            else:
                yield from outline.start_section(level, _docx_text(block))
        yield from outline.finish()


_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DOCX_BREAKS = {_W + "tab": "\t", _W + "br": "\n", _W + "cr": "\n", _W + "p": "\n"}
_DOCX_SKIPPED = {  # deleted or moved text, properties, and duplicates for older programs
    _W + "del",
    _W + "moveFrom",
    _W + "pPr",
    _W + "rPr",
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
}
_HEADING_STYLE = re.compile(r"heading ([1-9])", re.IGNORECASE)


def _heading_styles(styles: Iterable[Any]) -> Iterator[tuple[str, int]]:
    """Yield the ids of heading styles with their level, including styles derived from Word's own."""
    for style in styles:
        ancestor, depth = style, 0
        while ancestor is not None and depth < 10:
            name = ancestor.name or ""
            if found := _HEADING_STYLE.fullmatch(name):
                yield style.style_id, int(found[1])
                break
            if name.lower() == "title":
                yield style.style_id, 0
                break
            ancestor, depth = getattr(ancestor, "base_style", None), depth + 1


def _docx_blocks(element: "Element") -> Iterator[Any]:
    """Yield the paragraphs and tables in order, including those in content controls."""
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


class PptxLoader(_OfficeLoader):
    """Reads presentations with python-pptx: a section per slide, with its notes."""

    kind = "presentation"

    def _read(self) -> Iterator[Section]:
        import pptx  # noqa: PLC0415  a slow import, needed for this format only

        for number, slide in enumerate(pptx.Presentation(str(self._path)).slides, start=1):
            title = slide.shapes.title
            heading = " ".join(title.text_frame.text.split()) if title is not None else None
            lines = [line for line in _shape_lines(slide.shapes, title) if line.strip()]
            if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) and notes.text.strip():
                lines.append(notes.text)
            yield Section("\n".join(lines) or heading or "", page=number, heading=heading)


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


class XlsxLoader(_OfficeLoader):
    """Reads workbooks with openpyxl: each sheet as a table."""

    kind = "workbook"

    def _read(self) -> Iterator[Section]:
        import openpyxl  # noqa: PLC0415  a slow import, needed for this format only

        # Opened here, because openpyxl accepts a path only with certain suffixes.
        with (
            self._path.open("rb") as file,
            closing(openpyxl.load_workbook(file, read_only=True, data_only=True)) as workbook,
        ):
            for sheet in workbook.worksheets:
                sheet.reset_dimensions()  # a sheet may claim sixteen thousand columns and have three
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
