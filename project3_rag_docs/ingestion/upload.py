"""Uploaded files: read once for the hash and the media type, then stored in the database in parts."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO

from project3_rag_docs.ingestion.parsing.media_types import NAMED_TEXT_TYPES, MediaType, decide_media_type
from project3_rag_docs.settings import MIB
from shared.errors import InvalidRequest

PART_BYTES = MIB
_SIGNATURE_BYTES = 64 * 1024  # at either end of a file, to detect its media type
_MAX_NAME_LENGTH = 255


@dataclass(frozen=True)
class Upload:
    """A file that was accepted.

    Attributes:
        filename: Without folders and control characters.
        media_type: Detected by content, and by name if the content is plain text.
        size: In bytes.
        sha256: In hexadecimal; of the content, and of the type if the content does not tell it.
        file: A file on disk, or in memory if it is small.
    """

    filename: str
    media_type: MediaType
    size: int
    sha256: str
    file: BinaryIO

    def parts(self) -> Iterator[bytes]:
        """Yield the content in parts of one mebibyte."""
        self.file.seek(0)
        while part := self.file.read(PART_BYTES):
            yield part


def read_upload(filename: str, file: BinaryIO) -> Upload:
    """Read a file to detect its media type and compute its hash. This blocks: call it in a thread.

    Raises:
        UnsupportedMediaType: if its media type is not supported.
        InvalidRequest: if the file is empty.
    """
    file.seek(0)
    digest, size, head, tail = sha256(), 0, b"", b""
    while part := file.read(PART_BYTES):
        digest.update(part)
        size += len(part)
        head = head or part[:_SIGNATURE_BYTES]
        tail = (tail + part)[-_SIGNATURE_BYTES:]
    if not size:
        raise InvalidRequest("The file is empty.")
    name = clean_filename(filename)
    media_type = decide_media_type(name, head, tail, file)
    content = digest.hexdigest()
    if media_type in NAMED_TEXT_TYPES:
        content = sha256(f"{content} {media_type}".encode()).hexdigest()
    return Upload(name, media_type, size, content, file)


def clean_filename(path: str) -> str:
    """Return the last component of a path, Unicode-normalized and without control characters."""
    readable = path.encode("utf-8", "replace").decode()
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", readable)[-1])
    name = "".join(character for character in name if unicodedata.category(character)[0] != "C").strip()
    if len(name) > _MAX_NAME_LENGTH:
        stem, dot, suffix = name.rpartition(".")
        short = len(suffix) < 10 and stem  # then keep the suffix, which tells the format
        name = stem[: _MAX_NAME_LENGTH - len(suffix) - 1] + dot + suffix if short else name[:_MAX_NAME_LENGTH]
    return name or "unnamed"
