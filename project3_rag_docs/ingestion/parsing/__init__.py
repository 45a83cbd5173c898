"""From a file that somebody uploaded to chunks of text: what kind it is, its text, and the process that reads it."""

from dataclasses import dataclass

_MEBIBYTE = 2**20


class UnreadableDocument(Exception):
    """The file cannot be read.

    Args:
        reason: One or two English sentences for whoever uploaded it; nothing of the document or of a library.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Limits:
    """What one document may cost.

    Attributes:
        seconds: Until it must have been read; of processor time as of any other.
        memory_bytes: What the process that reads it may allocate, including some 40 MiB of Python and libraries.
        expanded_bytes: What the parts of an office file, which is a ZIP archive, may have together when unpacked.
        pages: Of a PDF.
        characters: Of the text in it.
    """

    seconds: float = 60
    memory_bytes: int = 256 * _MEBIBYTE
    expanded_bytes: int = 100 * _MEBIBYTE
    pages: int = 5_000
    characters: int = 5_000_000
