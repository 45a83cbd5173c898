"""Detect the media type of a file by its content and its name."""

import re
import zipfile
import zlib
from enum import StrEnum
from pathlib import PurePosixPath
from typing import BinaryIO

from shared.errors import UnsupportedMediaType


class MediaType(StrEnum):
    """The supported media types, by their IANA names."""

    PDF = "application/pdf"
    DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    ODT = "application/vnd.oasis.opendocument.text"
    RTF = "application/rtf"
    EPUB = "application/epub+zip"
    EMAIL = "message/rfc822"
    CSV = "text/csv"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    TEXT = "text/plain"


SUFFIXES = {
    ".pdf": MediaType.PDF,
    ".docx": MediaType.DOCX,
    ".pptx": MediaType.PPTX,
    ".xlsx": MediaType.XLSX,
    ".odt": MediaType.ODT,
    ".rtf": MediaType.RTF,
    ".epub": MediaType.EPUB,
    ".eml": MediaType.EMAIL,
    ".csv": MediaType.CSV,
    ".html": MediaType.HTML,
    ".htm": MediaType.HTML,
    ".md": MediaType.MARKDOWN,
    ".markdown": MediaType.MARKDOWN,
    ".txt": MediaType.TEXT,
    ".text": MediaType.TEXT,
    "": MediaType.TEXT,
}
NAMED_TEXT_TYPES = {
    MediaType.CSV,
    MediaType.HTML,
    MediaType.MARKDOWN,
    MediaType.EMAIL,
}  # known only from the name of the file
_TEXT_TYPES = NAMED_TEXT_TYPES | {MediaType.TEXT}
_OFFICE_FOLDERS = {"word": MediaType.DOCX, "ppt": MediaType.PPTX, "xl": MediaType.XLSX}
_BY_MIMETYPE = {of.encode(): of for of in (MediaType.ODT, MediaType.EPUB)}  # the content of that part
_OFFICE_CONTENT = re.compile(
    rb"(?:(wordprocessingml|ms-word)|(presentationml|ms-powerpoint)|(spreadsheetml|ms-excel))[^\"']*\.main\+xml"
)
OFFICE_COMPRESSION = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others can need gigabytes to unpack a byte
_MAX_DIRECTORY_BYTES = 4 * 2**20  # of a ZIP archive; 10,000 parts have about one mebibyte
_END_OF_DIRECTORY = b"PK\x05\x06"
_SUPPORTED = "Supported formats: pdf, docx, pptx, xlsx, odt, rtf, epub, eml, csv, html, md, txt."

_PDF_MAGIC = b"%PDF-"
_RTF_MAGIC = b"{\\rtf"  # also of many files named .doc
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_OLE2_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")  # UTF-16 and UTF-32
_CONTROLS = bytes(code for code in range(32) if code not in b"\a\b\t\n\v\f\r\x1b") + b"\x7f"


def decide_media_type(filename: str, head: bytes, tail: bytes, file: BinaryIO) -> MediaType:
    """Return the media type of a file.

    Args:
        filename: The name that the client sent; only its suffix counts.
        head: The first 64 KiB.
        tail: The last 64 KiB.
        file: The file itself, for the directory of a ZIP archive.

    Raises:
        UnsupportedMediaType: if the type is not supported, or the content contradicts the name.
    """
    suffix = PurePosixPath(filename.replace("\\", "/")).suffix.lower()
    named = SUFFIXES.get(suffix)
    if _is_pdf(head, named):
        return MediaType.PDF
    if head.startswith(_RTF_MAGIC) and named not in NAMED_TEXT_TYPES:
        return MediaType.RTF
    if head.startswith(_ZIP_MAGIC):
        return _office_type(tail, file)
    if head.startswith(_OLE2_MAGIC):
        raise UnsupportedMediaType(_ole2_refusal(named, head, tail))
    if named is None:
        raise UnsupportedMediaType(f"Files with the suffix {suffix[:20]} are not supported. {_SUPPORTED}")
    if named in _TEXT_TYPES and not _is_text(head):
        raise UnsupportedMediaType(f"The file is named like a text file, but its content is not text. {_SUPPORTED}")
    if named not in _TEXT_TYPES and head:
        raise UnsupportedMediaType(f"The file is named {suffix}, but its content has another format.")
    return named


def _is_pdf(head: bytes, named: MediaType | None) -> bool:
    if head.startswith(_PDF_MAGIC):
        return True
    # PDF readers accept some garbage before the signature. A text about PDF may contain the signature, too.
    return _PDF_MAGIC in head[:1024] and not (named in _TEXT_TYPES and _is_text(head))


def _office_type(tail: bytes, file: BinaryIO) -> MediaType:
    """Return the media type of an Office file: that of its main part, which may have any name."""
    try:
        if 0 < directory_bytes(tail) <= _MAX_DIRECTORY_BYTES:
            with zipfile.ZipFile(file) as archive:
                if found := _main_type(archive):
                    return found
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, OSError, EOFError):
        pass  # not an archive that Office could open either
    raise UnsupportedMediaType(
        "The file is a ZIP archive, but not a docx, pptx, xlsx, odt or epub. "
        f"`POST /documents/archive` takes the files in it. {_SUPPORTED}"
    )


def directory_bytes(tail: bytes) -> int:
    """Return the size of a ZIP archive's directory, by its last 64 KiB; 0 if it has none."""
    end = tail[tail.rfind(_END_OF_DIRECTORY) :] if _END_OF_DIRECTORY in tail else b""
    return int.from_bytes(end[12:16], "little")


def _main_type(archive: zipfile.ZipFile) -> MediaType | None:
    names = {name.replace("\\", "/").strip("/").lower(): name for name in archive.namelist()}
    if (name := names.get("mimetype")) and archive.getinfo(name).compress_type in OFFICE_COMPRESSION:
        with archive.open(name) as part:
            return _BY_MIMETYPE.get(part.read(100).strip())
    if not (name := names.get("[content_types].xml")):
        return None
    if archive.getinfo(name).compress_type not in OFFICE_COMPRESSION:
        return None
    with archive.open(name) as part:
        if found := _OFFICE_CONTENT.search(part.read(_MAX_DIRECTORY_BYTES)):
            return list(_OFFICE_FOLDERS.values())[(found.lastindex or 1) - 1]
    folders = {name.partition("/")[0] for name in names}
    return next((of for folder, of in _OFFICE_FOLDERS.items() if folder in folders), None)


def _ole2_refusal(named: MediaType | None, head: bytes, tail: bytes) -> str:
    new = {MediaType.DOCX, MediaType.PPTX, MediaType.XLSX}
    if named in new or _ENCRYPTED_OFFICE in head or _ENCRYPTED_OFFICE in tail:
        return "The Office file is protected by a password. Save it without one."
    return "The file has the Office format of before 2007 (doc, ppt, xls). Save it as docx, pptx or xlsx."


def _is_text(head: bytes) -> bool:
    if head.startswith(_WIDE_BOMS):
        return True
    if b"\0" in head:
        return False
    return len(head) - len(head.translate(None, _CONTROLS)) <= len(head) // 100
