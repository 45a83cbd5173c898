"""An uploaded file: read once for its hash and its kind, then stored in the database in pieces."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO

from project3_rag_docs.ingestion.parsing.media_types import MediaType, decide_media_type
from project3_rag_docs.settings import MIB

PART_BYTES = MIB
_LOOKED_AT = 64 * 1024  # bytes at either end that say what a file is
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Upload:
    """A file that may be stored.

    Attributes:
        filename: Without folders and control characters.
        media_type: By its content, and by its name where the content is plain text.
        size: In bytes.
        sha256: In hexadecimal digits.
        file: Where it is on this machine's disk, or in memory if it is small.
    """

    filename: str
    media_type: MediaType
    size: int
    sha256: str
    file: BinaryIO

    def parts(self) -> Iterator[bytes]:
        """Give its content in pieces of a mebibyte."""
        self.file.seek(0)
        while part := self.file.read(PART_BYTES):
            yield part


def inspect(filename: str, file: BinaryIO) -> Upload:
    """Read a file through. It blocks: call it in a thread.

    Raises:
        UnsupportedMediaType: if it is of no kind that is taken.
    """
    file.seek(0)
    digest, size, head, tail = sha256(), 0, b"", b""
    while part := file.read(PART_BYTES):
        digest.update(part)
        size += len(part)
        head = head or part[:_LOOKED_AT]
        tail = (tail + part)[-_LOOKED_AT:]
    name = clean_filename(filename)
    return Upload(name, decide_media_type(name, head, tail), size, digest.hexdigest(), file)


def clean_filename(given: str) -> str:
    """Return the last part of a path, in one normal form, without what cannot be shown or stored."""
    readable = given.encode("utf-8", "replace").decode()
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", readable)[-1])
    name = "".join(character for character in name if unicodedata.category(character)[0] != "C").strip()
    if len(name) > _LONGEST_NAME:
        stem, dot, suffix = name.rpartition(".")
        short = len(suffix) < 10 and stem  # the end of the name says what it is
        name = stem[: _LONGEST_NAME - len(suffix) - 1] + dot + suffix if short else name[:_LONGEST_NAME]
    return name or "unnamed"
