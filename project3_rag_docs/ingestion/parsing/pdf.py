"""The PDF loader: a section per page, under the heading that the outline gives it, with the values of forms."""

import ctypes
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Literal, NamedTuple

import pypdfium2
from pypdfium2 import PdfDocument, PdfPage, PdfTextPage, raw

from project3_rag_docs.ingestion.parsing import UnreadableDocument
from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.layout import page_lines, page_text
from project3_rag_docs.ingestion.parsing.sections import Section

_NO_TEXT = "The PDF has no text in it; it may be scanned images."
_NO_CHARACTERS = "The text of the PDF cannot be read: its fonts do not say which characters they show."
_UNUSABLE = re.compile("[\ufffd\uffff\ue000-\uf8ff\x00-\x08\x0e-\x1f\x80-\x9f]")
_HYPHEN = re.compile("\ufffe\\s*")  # at the end of a line, where it divides a word
_SPACE = re.compile(r"\s")
_REPEATED = re.compile(r"([^\w\s])\1+")
_WORD_CHARACTER = re.compile(r"\w")
_LATIN_1 = re.compile("[\u00a1-\u00ff]")
_MAX_UNUSABLE = 0.2  # of the characters of a page
_MIN_CODES = 4  # that are all codes of GB 2312 by chance in one of 10,000 fonts
_MIN_CHECKED = 20  # characters, below which a ratio says nothing
_MIN_MARKED = 5  # characters, of which most are letters with marks
_FREQUENT = {"aeiou": 0.28, "etaoinsr": 0.45}  # letters, and their least share in a text
_FEW_CHARACTERS = 60  # on a page that is an image, such as a page number or the name of a scanner
_PAGE_LIST = 20


class PdfLoader(Loader):
    """Reads PDFs with PDFium."""

    kind = "PDF"

    def _sections(self) -> Iterator[Section]:
        images: list[int] = []
        garbled: list[int] = []
        with open_pdf(self._path) as pdf:
            total = len(pdf)
            if total > self._limits.pages:
                raise UnreadableDocument(f"The PDF has more than {self._limits.pages:,} pages.")
            pdf.init_forms()
            headings, heading, any_text = dict(_headings(pdf)), None, False
            for number in range(1, total + 1):
                heading = headings.get(number, heading)
                page = _read_page(pdf, number - 1)
                recognised = self._recognised.get(number)
                if not recognised and page.state:
                    (images if page.state == "image" else garbled).append(number)
                for text, is_table in [*page.texts, (recognised or "", False)]:
                    any_text = any_text or bool(text.strip())
                    yield Section(text, number, heading, recognised=bool(recognised), table=is_table)
        self.unreadable_pages = sorted(images + garbled)
        if not any_text:
            raise UnreadableDocument(_NO_CHARACTERS if garbled else _NO_TEXT, self.unreadable_pages)
        self._add_notice(images, total, "are images, in which no text was recognised")
        self._add_notice(garbled, total, "cannot be read: their fonts do not say which characters they show")
        self._add_notice(sorted(number for number, of in self._recognised.items() if of), total, "were read by OCR")

    def _add_notice(self, pages: list[int], total: int, state: str) -> None:
        if pages:
            numbers = ", ".join(map(str, pages[:_PAGE_LIST])) + (", …" if len(pages) > _PAGE_LIST else "")
            self.notices.append(f"{len(pages)} of {total} pages {state}: {numbers}.")


def open_pdf(path: object) -> PdfDocument:
    """Open a PDF.

    Raises:
        UnreadableDocument: if it needs a password.
        PdfiumError: if it is damaged.
    """
    try:
        return PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise UnreadableDocument("The PDF is protected by a password. Save it without one.") from error
        raise


class _Page(NamedTuple):
    """The texts of a page, each with whether it is a table.

    Attributes:
        state: "image" if the page is a scan or drawing with little or no text; "garbled" if its text is unreadable.
    """

    texts: list[tuple[str, bool]]
    state: Literal["", "image", "garbled"] = ""


def _read_page(pdf: PdfDocument, index: int) -> _Page:
    try:
        page = pdf[index]
    except pypdfium2.PdfiumError:
        return _Page([], "garbled")
    textpage = page.get_textpage()
    fields = ("\n".join(filter(None, _annotations(page, pdf))), False)
    text = repaired(textpage, page_text(textpage))
    if text is None:
        return _Page([fields], "garbled")
    lines = groupby(page_lines(textpage, text), key=itemgetter(1))
    parts = [("\n".join(line for line, _ in part), of) for of, part in lines]
    texts = [(_UNUSABLE.sub("", _HYPHEN.sub(_joined, text)), is_table) for text, is_table in parts]
    is_image = sum(len(text) for text, _ in texts) < _FEW_CHARACTERS and not fields[0] and _is_drawing(page, text)
    return _Page([*texts, fields], "image" if is_image else "")


def _joined(hyphen: re.Match[str]) -> str:
    following = hyphen.string[hyphen.end() : hyphen.end() + 1]
    return "" if following.islower() else "-"


def repaired(page: PdfTextPage, text: str) -> str | None:
    """Return the text of a page, repaired if possible; None if too much of it is not what the page shows."""
    unmapped = [at for at in range(len(text)) if raw.FPDFText_HasUnicodeMapError(page.raw, at) == 1]
    guessed = "".join(text[at] for at in unmapped)  # PDFium takes the codes of the font for characters
    if len(unmapped) >= _MIN_CODES and (known := _gb_characters(guessed)):
        return text.translate(known)
    unusable = {*unmapped, *(found.start() for found in _UNUSABLE.finditer(text))}
    if len(unusable) > _MAX_UNUSABLE * max(1, len(text) - len(_SPACE.findall(text))) and not _is_language(guessed):
        meant = "".join(map(_glyph_character, guessed))
        if not _is_language(meant):
            return None
        characters = list(text)
        for at, character in zip(unmapped, meant, strict=True):
            characters[at] = character
        text = "".join(characters)
    visible = _REPEATED.sub(r"\1", "".join(text.split()))
    if len(visible) >= _MIN_MARKED and len(_LATIN_1.findall(visible)) > len(visible) / 2:
        return None
    if len(visible) >= _MIN_CHECKED and len(_WORD_CHARACTER.findall(visible)) < len(visible) * 0.3:
        return None
    return text


def _gb_characters(codes: str) -> dict[int, str]:
    """Return the characters of codes of GB 2312, which PDFium does not know as `GB-H`; empty for other codes."""
    found = {}
    for code in set(map(ord, codes)):
        try:
            found[code] = bytes((code >> 8 | 0x80, code & 0xFF | 0x80)).decode("gb2312")
        except ValueError:
            return {}
    return found if all(0x2121 <= code <= 0x7E7E for code in found) else {}


def _glyph_character(code: str) -> str:
    """Return the character of a glyph's number in a font with the usual order, which is that of Mac OS Roman."""
    number = ord(code)
    if 3 <= number <= 97:
        return chr(number + 29)
    return bytes([number + 30]).decode("mac_roman") if 98 <= number <= 225 else "\ufffd"


def _is_language(text: str) -> bool:
    """Return whether a text has the vowels and the frequent letters of a language in Latin script."""
    letters = [letter for letter in unicodedata.normalize("NFD", text.lower()) if "a" <= letter <= "z"]
    if len(letters) < _MIN_CHECKED or len(_UNUSABLE.findall(text)) > _MAX_UNUSABLE * len(text):
        return False
    counts = Counter(letters)
    return all(sum(counts[of] for of in frequent) >= share * len(letters) for frequent, share in _FREQUENT.items())


def _is_drawing(page: PdfPage, text: str) -> bool:
    """Return whether a page without text has something on it, or an image covers most of a page with little text."""
    width, height = page.get_size()
    for item in page.get_objects(max_depth=3):
        if item.type in {raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_SHADING}:
            left, bottom, right, top = item.get_bounds()
            if (right - left) * (top - bottom) > (0.5 if text.strip() else 0.005) * width * height:
                return True
    return False


def _annotations(page: PdfPage, pdf: PdfDocument) -> Iterator[str]:
    """Yield the values of form fields, and the texts of comments."""
    for at in range(raw.FPDFPage_GetAnnotCount(page.raw)):
        annotation = raw.FPDFPage_GetAnnot(page.raw, at)
        try:
            if raw.FPDFAnnot_GetSubtype(annotation) == raw.FPDF_ANNOT_WIDGET:
                yield from _field(pdf, annotation)
            elif raw.FPDFAnnot_GetSubtype(annotation) in {raw.FPDF_ANNOT_TEXT, raw.FPDF_ANNOT_FREETEXT}:
                comment = _string(raw.FPDFAnnot_GetStringValue, annotation, b"Contents")
                yield f"[Comment: {comment}]" if comment else ""
        finally:
            raw.FPDFPage_CloseAnnot(annotation)


def _field(pdf: PdfDocument, annotation: object) -> Iterator[str]:
    if pdf.formenv is None or raw.FPDFAnnot_GetFormFieldType(pdf.formenv, annotation) == raw.FPDF_FORMFIELD_PUSHBUTTON:
        return
    form = pdf.formenv.raw
    value = _string(raw.FPDFAnnot_GetFormFieldValue, form, annotation)
    name = _string(raw.FPDFAnnot_GetFormFieldAlternateName, form, annotation) or _string(
        raw.FPDFAnnot_GetFormFieldName, form, annotation
    )
    if value and value != "Off":
        yield f"{name}: {value}" if name else value


def _string(function: "ctypes._FuncPointer", *arguments: object) -> str:
    """Call a function of PDFium that fills a buffer with UTF-16, and return its text."""
    size = function(*arguments, None, 0)
    buffer = ctypes.create_string_buffer(size)
    function(*arguments, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw.decode("utf-16-le", "replace").rstrip("\0").strip()


def _headings(pdf: PdfDocument) -> Iterator[tuple[int, str]]:
    """Yield page numbers, each with the first heading of the outline on that page."""
    path: list[str] = []
    seen = set()
    for item in pdf.get_toc():
        path[item.level :] = [" ".join(item.get_title().split())[:500]]
        destination = item.get_dest()
        page = destination.get_index() if destination else None
        if page is not None and page not in seen:
            seen.add(page)
            yield page + 1, " > ".join(path)
