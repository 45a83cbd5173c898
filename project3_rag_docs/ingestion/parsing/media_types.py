"""Which kind of document a file is, decided by its content as well as by its name."""

from enum import StrEnum
from pathlib import PurePosixPath

from shared.errors import UnsupportedMediaType


class MediaType(StrEnum):
    """The kinds that are read, by their IANA names."""

    PDF = "application/pdf"
    DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    CSV = "text/csv"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    TEXT = "text/plain"


_BY_SUFFIX = {
    ".pdf": MediaType.PDF,
    ".docx": MediaType.DOCX,
    ".pptx": MediaType.PPTX,
    ".xlsx": MediaType.XLSX,
    ".csv": MediaType.CSV,
    ".html": MediaType.HTML,
    ".htm": MediaType.HTML,
    ".md": MediaType.MARKDOWN,
    ".markdown": MediaType.MARKDOWN,
    ".txt": MediaType.TEXT,
    ".text": MediaType.TEXT,
    "": MediaType.TEXT,
}
_TEXTS = {MediaType.CSV, MediaType.HTML, MediaType.MARKDOWN, MediaType.TEXT}
_OFFICE_PARTS = {
    b"word/document.xml": MediaType.DOCX,
    b"ppt/presentation.xml": MediaType.PPTX,
    b"xl/workbook.xml": MediaType.XLSX,
}
_TAKEN = "Taken are pdf, docx, pptx, xlsx, csv, html, md and txt."

_PDF_MAGIC = b"%PDF-"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_OLE2_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")  # UTF-16 and UTF-32
_CONTROLS = bytes(code for code in range(32) if code not in b"\a\b\t\n\v\f\r\x1b") + b"\x7f"


def decide_media_type(filename: str, head: bytes, tail: bytes) -> MediaType:
    """Say what kind of document a file is.

    A ZIP archive is not opened for that: what its directory claims is not to be trusted by this process.

    Args:
        filename: As the client calls it; only its suffix counts.
        head: The first 64 KiB.
        tail: The last 64 KiB.

    Raises:
        UnsupportedMediaType: if it is of no kind that is read, or not what its name says.
    """
    suffix = PurePosixPath(filename.replace("\\", "/")).suffix.lower()
    named = _BY_SUFFIX.get(suffix)
    if _is_pdf(head, named):
        return MediaType.PDF
    if head.startswith(_ZIP_MAGIC):
        return _office_type(head, tail)
    if head.startswith(_OLE2_MAGIC):
        raise UnsupportedMediaType(_why_not_ole2(named, head, tail))
    if named is None:
        raise UnsupportedMediaType(f"Files with the ending {suffix[:20]} are not taken. {_TAKEN}")
    if named in _TEXTS and not _is_text(head):
        raise UnsupportedMediaType(f"The name says that it is text, and the content is not. {_TAKEN}")
    if named not in _TEXTS and head:
        raise UnsupportedMediaType(f"The name says {suffix.removeprefix('.')}, and the content is something else.")
    return named


def _is_pdf(head: bytes, named: MediaType | None) -> bool:
    if head.startswith(_PDF_MAGIC):
        return True
    # Readers accept some rubbish in front. A text about PDF may have these letters in it too.
    return _PDF_MAGIC in head[:1024] and not (named in _TEXTS and _is_text(head))


def _office_type(head: bytes, tail: bytes) -> MediaType:
    for part, media_type in _OFFICE_PARTS.items():
        if part in head or part in tail:
            return media_type
    raise UnsupportedMediaType(f"The file is a ZIP archive, and no docx, pptx or xlsx. {_TAKEN}")


def _why_not_ole2(named: MediaType | None, head: bytes, tail: bytes) -> str:
    new = {MediaType.DOCX, MediaType.PPTX, MediaType.XLSX}
    if named in new or _ENCRYPTED_OFFICE in head or _ENCRYPTED_OFFICE in tail:
        return "The office file is protected by a password. Save it without one."
    return "The file has Office's format from before 2007 (doc, ppt, xls). Save it as docx, pptx or xlsx."


def _is_text(head: bytes) -> bool:
    if head.startswith(_WIDE_BOMS):
        return True
    if b"\0" in head:
        return False
    return len(head) - len(head.translate(None, _CONTROLS)) <= len(head) // 100
