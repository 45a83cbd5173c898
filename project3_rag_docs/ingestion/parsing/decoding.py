"""The text of a text file, whatever encoding it is in."""

import codecs
import io
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from project3_rag_docs.ingestion.parsing import UnreadableDocument

_BLOCK = 256 * 1024
_SAMPLE = 64 * 1024
_WINDOW = 2048
_BOMS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LEGACY = ["gb18030", "big5", "cp932", "cp1252"]  # they contain GBK, Shift-JIS and Latin-1
_NEVER_IN_TEXT = re.compile("[\0-\x08\x0e-\x1f\x7f\ud800-\udfff]")
_NON_ASCII = re.compile(rb"[\x80-\xff]")
_ESCAPED = r"\x41\u0041"
_NO_ENCODING = "The text is in no encoding that is known here, or in several. Save it as UTF-8."


def clean(text: str) -> str:
    """Take out what no text holds and no database takes: NUL and other control characters, and lone surrogates."""
    return _NEVER_IN_TEXT.sub("", text)


def decoded(path: Path, *, declared: str | None = None) -> Iterator[str]:
    r"""Yield a file's text in blocks, clean and with `\n` as the end of a line.

    Args:
        path: The file. It may be larger than the memory.
        declared: An encoding that the file itself names, tried before others are guessed.

    Raises:
        UnreadableDocument: if more than a few characters cannot be decoded.
    """
    with path.open("rb") as file:
        encoding = _encoding_of(file, declared)
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("replace"), translate=True)
        file.seek(0)
        total = wrong = 0
        more = True
        while more:
            data = file.read(_BLOCK)
            more = bool(data)
            text = decoder.decode(data, final=not more)
            kept = clean(text)
            total += len(text)
            wrong += text.count("\N{REPLACEMENT CHARACTER}") + len(text) - len(kept)
            if wrong > max(10, total // 50):
                raise UnreadableDocument(_NO_ENCODING)
            yield kept


def _encoding_of(file: io.BufferedReader, declared: str | None) -> str:
    head = file.read(4)
    for mark, encoding in _BOMS.items():
        if head.startswith(mark):
            return encoding
    sample = _sample(file)
    if _is_utf8(sample):
        return "utf-8"
    return usable(declared) or _guess(sample)


def _sample(file: io.BufferedReader) -> bytes:
    """Return what follows the first byte that is not ASCII; before it, every encoding says the same."""
    file.seek(0)
    offset = 0
    while data := file.read(_BLOCK):
        if found := _NON_ASCII.search(data):
            file.seek(offset + found.start())
            return file.read(_SAMPLE)
        offset += len(data)
    return b""


def _is_utf8(sample: bytes) -> bool:
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(sample)
    wrong = text.count("\N{REPLACEMENT CHARACTER}")
    return wrong == 0 or wrong * 10 <= sum(not character.isascii() for character in text) - wrong


def usable(declared: str | None) -> str | None:
    """Return an encoding's name if it is one, and one in which the letters of ASCII are what they are.

    Python has codecs besides that are no encodings of text, or of the names of hosts and of its own literals: some of
    them take minutes for a megabyte.
    """
    letters = string.printable.encode()
    try:
        if _ESCAPED.encode().decode(declared or "") != _ESCAPED:
            return None
        known = letters.decode(declared or "") == string.printable
        (letters + bytes(range(128, 256))).decode(declared or "", "replace")
    except (LookupError, ValueError):  # no encoding, or none of text, or one for the names of hosts
        return None
    return declared if known and codecs.lookup(declared or "").name != "utf-8" else None


def _guess(sample: bytes) -> str:
    """Guess the encoding as most parts of the sample have it, so that a bad byte spoils one part only."""
    from charset_normalizer import from_bytes  # noqa: PLC0415  only for what is not UTF-8

    guesses = Counter(
        best.encoding
        for window in _windows(sample)
        if (best := from_bytes(window, cp_isolation=_LEGACY, enable_fallback=False).best())
    )
    return guesses.most_common(1)[0][0] if guesses else "utf-8"  # if that is wrong too, it is so too often


def _windows(sample: bytes) -> Iterator[bytes]:
    """Cut where no character can be in two: behind a byte below "0", which is part of no longer one."""
    start = 0
    while start < len(sample):
        end = min(start + _WINDOW, len(sample))
        while end < len(sample) and sample[end - 1] >= 0x30:
            end += 1
        yield sample[start:end]
        start = end
