"""Decode text files: detect the encoding, and refuse a file that none fits."""

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
_BOMS = {  # UTF-32 first: its byte order mark begins with that of UTF-16
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
_UNKNOWN_ENCODING = "The text encoding is unknown, or the file mixes several. Save it as UTF-8."


def remove_control_characters(text: str) -> str:
    """Remove NUL, other control characters and lone surrogates, which PostgreSQL refuses or nobody can read."""
    return _NEVER_IN_TEXT.sub("", text)


def decode_file(path: Path, *, declared: str | None = None) -> Iterator[str]:
    r"""Yield the text of a file in blocks, without control characters and with `\n` as line ends.

    The file may be larger than the memory.

    Args:
        declared: The encoding that the file declares, tried before others are guessed.

    Raises:
        UnreadableDocument: if more than a few characters cannot be decoded.
    """
    with path.open("rb") as file:
        encoding = _detect_encoding(file, declared)
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("replace"), translate=True)
        file.seek(0)
        total = wrong = 0
        more = True
        while more:
            data = file.read(_BLOCK)
            more = bool(data)
            text = decoder.decode(data, final=not more)
            kept = remove_control_characters(text)
            total += len(text)
            wrong += text.count("\N{REPLACEMENT CHARACTER}") + len(text) - len(kept)
            if wrong > max(10, total // 50):
                raise UnreadableDocument(_UNKNOWN_ENCODING)
            yield kept


def _detect_encoding(file: io.BufferedReader, declared: str | None) -> str:
    head = file.read(4)
    for mark, encoding in _BOMS.items():
        if head.startswith(mark):
            return encoding
    sample = _sample(file)
    if _is_utf8(sample):
        return "utf-8"
    return usable_encoding(declared) or _guess_encoding(sample)


def _sample(file: io.BufferedReader) -> bytes:
    """Return a sample from the first non-ASCII byte on; all encodings agree on the bytes before it."""
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


def usable_encoding(declared: str | None) -> str | None:
    """Return the declared encoding if it is a superset of ASCII; None if not, or if it is UTF-8, which was tried.

    Python also has codecs that do not encode text, and codecs for host names and string literals: some of these take
    minutes for a megabyte.
    """
    letters = string.printable.encode()
    try:
        if _ESCAPED.encode().decode(declared or "") != _ESCAPED:
            return None
        known = letters.decode(declared or "") == string.printable
        (letters + bytes(range(128, 256))).decode(declared or "", "replace")
    except (LookupError, ValueError):  # not a codec, not a text encoding, or one for host names
        return None
    return declared if known and codecs.lookup(declared or "").name != "utf-8" else None


def _guess_encoding(sample: bytes) -> str:
    """Return the encoding that most windows of the sample appear to have: a bad byte spoils only one window."""
    from charset_normalizer import from_bytes  # noqa: PLC0415  only needed when the file is not UTF-8

    guesses = Counter(
        best.encoding
        for window in _windows(sample)
        if (best := from_bytes(window, cp_isolation=_LEGACY, enable_fallback=False).best())
    )
    return guesses.most_common(1)[0][0] if guesses else "utf-8"  # a wrong guess exceeds the limit on bad characters


def _windows(sample: bytes) -> Iterator[bytes]:
    """Cut the sample without splitting a character: after a byte below "0", which no multi-byte character contains."""
    start = 0
    while start < len(sample):
        end = min(start + _WINDOW, len(sample))
        while end < len(sample) and sample[end - 1] >= 0x30:
            end += 1
        yield sample[start:end]
        start = end
