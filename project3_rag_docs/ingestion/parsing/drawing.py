"""Draw the pages of PDFs, with a passage marked."""

import math
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

import pypdfium2
from pypdfium2 import PdfBitmap, PdfPage, PdfTextPage, raw

from project3_rag_docs.ingestion.parsing import ParseLimits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.child import Report, run_in_child
from project3_rag_docs.ingestion.parsing.layout import Box, character_box, page_text
from project3_rag_docs.ingestion.parsing.pdf import open_pdf, repaired

_MAX_PIXELS = 6_000_000  # 18 MB in memory
_MARKER_COLOUR = (255, 226, 84, 255)  # multiplied with the page, so that the text stays black
_WORD = re.compile(r"[\u0e00-\u1dff\u2e80-\ud7ff\ue000-\U0010ffff]|[^\W\u0e00-\u1dff\u2e80-\U0010ffff]+")
_MIN_WORDS = 3  # in a row, to belong to the passage
_MAX_WORDS = 4_000  # of a page: the comparison takes the square of it


class Drawing(NamedTuple):
    """The result of drawing a page.

    Attributes:
        pages: Number of pages of the document.
        drawn: Whether the document has this page.
    """

    pages: int
    drawn: bool


async def draw_page(path: Path, number: int, passage: str, width: int, limits: ParseLimits, into: Path) -> Drawing:
    """Draw a page of a PDF as a PNG, in a child process.

    Args:
        passage: The text to mark, as `parse` returned it. Nothing is marked if the page does not contain it.
        width: In pixels; less if the picture of a high page would be too large.

    Raises:
        UnreadableDocument: if it cannot be drawn within the limits.
    """
    return Drawing(**await run_in_child(_draw, (path, number, passage, width, into), limits))


def _draw(path: Path, number: int, passage: str, width: int, into: Path) -> Report:
    try:
        with open_pdf(path) as pdf:
            pages = len(pdf)
            if number <= pages:
                pdf.init_forms()  # before the page is loaded, or the values of its fields are missing
                into.write_bytes(_picture(pdf[number - 1], passage, width))
    except pypdfium2.PdfiumError as error:
        raise UnreadableDocument("The page cannot be drawn; it is damaged.") from error
    return Drawing(pages, drawn=number <= pages)._asdict()


def _picture(page: PdfPage, passage: str, width: int) -> bytes:
    for box in _boxes(page.get_textpage(), passage):
        _mark(page, box)
    across, down = page.get_size()
    scale = min(width / across, math.sqrt(_MAX_PIXELS / (across * down)))
    return _png(page.render(scale=scale, rev_byteorder=True))


def _boxes(page: PdfTextPage, passage: str) -> Iterator[Box]:
    """Yield the box of each line of a passage on a page, in the page's own coordinates."""
    drawn = page_text(page)
    for start, end in passage_spans(repaired(page, drawn) or drawn, passage):
        line: Box | None = None
        for at in range(start, end):
            box = character_box(page, at)
            if box[2] <= box[0]:  # a space of PDFium's own
                continue
            if line and not _is_next(line, box):
                yield line
                line = None
            line = (line[0], min(line[1], box[1]), max(line[2], box[2]), max(line[3], box[3])) if line else box
        if line:
            yield line


def _is_next(line: Box, box: Box) -> bool:
    height = box[3] - box[1]
    same_height = abs(line[1] + line[3] - box[1] - box[3]) < height
    return same_height and line[0] <= box[0] < line[2] + 2 * height


def passage_spans(text: str, passage: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of the parts of a page's text that a passage consists of.

    The passage has other line ends and cells than the page, and lacks the noise, so words are compared, in order.
    """
    words, wanted = _words(text)[:_MAX_WORDS], [word for word, _, _ in _words(passage)]
    matcher = SequenceMatcher(None, [word for word, _, _ in words], wanted, autojunk=False)
    start = end = -1
    for first, _, size in matcher.get_matching_blocks():
        if size < min(_MIN_WORDS, len(wanted)) or size == 0:
            continue
        if end < 0:
            start = first
        elif first - end > _MIN_WORDS:
            yield words[start][1], words[end - 1][2]
            start = first
        end = first + size
    if end > 0:
        yield words[start][1], words[end - 1][2]


def _words(text: str) -> Sequence[tuple[str, int, int]]:
    """Return the words of a text, and its characters of scripts without spaces, with their starts and ends."""
    found = _WORD.finditer(text)
    return [(unicodedata.normalize("NFKC", word[0]).casefold(), word.start(), word.end()) for word in found]


def _mark(page: PdfPage, box: Box) -> None:
    left, bottom, right, top = box
    rectangle = raw.FPDFPageObj_CreateNewRect(left, bottom, right - left, top - bottom)
    raw.FPDFPageObj_SetFillColor(rectangle, *_MARKER_COLOUR)
    raw.FPDFPageObj_SetBlendMode(rectangle, b"Multiply")
    raw.FPDFPath_SetDrawMode(rectangle, raw.FPDF_FILLMODE_WINDING, 0)
    raw.FPDFPage_InsertObject(page.raw, rectangle)  # the page owns it from now on


def _png(bitmap: PdfBitmap) -> bytes:
    """Encode a bitmap of three bytes per pixel."""
    row = 3 * bitmap.width
    pixels = memoryview(bitmap.buffer)
    rows = (pixels[at : at + row] for at in range(0, bitmap.stride * bitmap.height, bitmap.stride))
    data = b"".join(b"\0" + bytes(line) for line in rows)
    header = struct.pack(">IIBBBBB", bitmap.width, bitmap.height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(data, 6)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_part(name, content) for name, content in parts)


def _png_part(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
