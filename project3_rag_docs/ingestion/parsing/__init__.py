"""From an uploaded file to chunks of text: its media type, its text, and the child process that parses it."""

from collections.abc import Sequence
from dataclasses import dataclass

_MEBIBYTE = 2**20


class UnreadableDocument(Exception):
    """The file cannot be read.

    Args:
        reason: One or two English sentences for the user; they quote neither the document nor a library's error.
        pages: The pages that OCR may read.
    """

    def __init__(self, reason: str, pages: Sequence[int] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pages = tuple(pages)


@dataclass(frozen=True)
class ParseLimits:
    """Limits for parsing one document.

    Attributes:
        seconds: Maximum wall-clock time, and maximum CPU time.
        memory_bytes: Maximum memory of the child process, including about 40 MiB for Python and the libraries.
        unpacked_bytes: Maximum total size of the parts of an Office file, which is a ZIP archive.
        characters: Maximum length of the extracted text.
    """

    seconds: float = 60
    memory_bytes: int = 256 * _MEBIBYTE
    unpacked_bytes: int = 100 * _MEBIBYTE
    pages: int = 5_000
    characters: int = 5_000_000
