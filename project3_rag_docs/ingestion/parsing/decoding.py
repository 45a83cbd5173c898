"""Decode text files: detect the encoding, and refuse a file that none fits."""

import codecs
import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import webencodings

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
_SCRIPTS = {  # letters, and the least share of them among those that are not ASCII in a text with this encoding
    "cp949": ("[가고기는다도로를사서어에은을의이지하한]", 0.15),  # Chinese bytes mean rare syllables
    "euc_jp": ("[\u3040-\u30ff]", 0.2),
    "cp1251": ("[\u0400-\u04ff]", 0.8),
    "koi8_r": ("[\u0400-\u04ff]", 0.8),
    "cp1253": ("[\u0370-\u03ff]", 0.8),
    "cp1255": ("[\u05d0-\u05ea]", 0.8),
    "cp1256": ("[\u0620-\u064a]", 0.8),
    "cp874": ("[\u0e01-\u0e5b]", 0.8),
}
_NEVER_IN_TEXT = re.compile("[\0-\x08\x0e-\x1f\x7f\ud800-\udfff]")
WEB_ERRORS = "web"  # the handler of bytes that no character has
_WIDER = {  # Python's codecs with the characters that browsers know under these names
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc-kr": "cp949",
    "big5": "big5hkscs",
    "euc-jp": "euc_jis_2004",
    "iso-2022-jp": "iso2022_jp_3",
}
_NON_ASCII = re.compile(rb"[\x80-\xff]")
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
        errors = WEB_ERRORS if encoding == web_encoding(declared) else "replace"
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(errors), translate=True)
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
    sample, named = _sample(file), web_encoding(declared)
    if named and named.startswith("iso2022"):  # its bytes are all ASCII
        return named
    if _is_utf8(sample):
        return "utf-8"
    return named or _guess_encoding(sample)


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


def web_encoding(label: str | None) -> str | None:
    """Return the codec for a label as the WHATWG's Encoding Standard maps it: pages in GBK often say `gb2312`.

    Returns None for an unknown label, and for UTF-8, which is tried first.
    """
    encoding = webencodings.lookup(label or "")
    if encoding is None or encoding.name in {"utf-8", "utf-16le", "utf-16be", "x-user-defined"}:
        return None
    return _WIDER.get(encoding.name) or str(encoding.codec_info.name)


def _windows_gb(error: UnicodeError) -> tuple[str, int]:
    """Decode the euro sign of code page 936 in GB 18030; replace other bytes."""
    if isinstance(error, UnicodeDecodeError) and error.object[error.start] == 0x80:
        return "€", error.start + 1
    return codecs.replace_errors(error)  # type: ignore[return-value]  # it returns a text for bytes


codecs.register_error(WEB_ERRORS, _windows_gb)


def _guess_encoding(sample: bytes) -> str:
    """Return the encoding that most windows of the sample appear to have: a bad byte spoils only one window."""
    guesses = Counter(filter(None, map(_guess_of_window, _windows(sample))))
    guess = guesses.most_common(1)[0][0] if guesses else "utf-8"  # a wrong guess exceeds the limit on bad characters
    return web_encoding(guess) or guess


def _guess_of_window(window: bytes) -> str | None:
    from charset_normalizer import from_bytes  # noqa: PLC0415  only needed when the file is not UTF-8

    guesses = from_bytes(window, cp_isolation=[*_LEGACY, *_SCRIPTS], enable_fallback=False)
    for rank, guess in enumerate(guesses):
        if rank and guess.encoding == "cp1252":  # in which almost any bytes are letters
            continue
        letters = "".join(character for character in str(guess) if not character.isascii() and character.isalpha())
        script, share = _SCRIPTS.get(guess.encoding, ("", 0))
        if len(re.findall(script, letters)) >= share * len(letters):
            return guess.encoding
    return None


def _windows(sample: bytes) -> Iterator[bytes]:
    """Cut the sample without splitting a character: after a byte below "0", which no multi-byte character contains."""
    start = 0
    while start < len(sample):
        end = min(start + _WINDOW, len(sample))
        while end < len(sample) and sample[end - 1] >= 0x30:
            end += 1
        yield sample[start:end]
        start = end
