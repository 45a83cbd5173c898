"""The text of an HTML page that a reader would see, collected while it is parsed; there is never a tree of it."""

import re
from collections.abc import Iterator

from project3_rag_docs.ingestion.parsing.sections import MOST_CHARACTERS, Outline, Section

_INVISIBLE = {
    *("head", "script", "style", "noscript", "template", "nav", "svg", "math", "iframe", "object", "canvas"),
    *("button", "select", "textarea", "datalist"),
}
_INLINE = {
    *("a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img", "ins", "kbd"),
    *("label", "mark", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt"),
    *("u", "var", "wbr", "input", "td", "th"),
}
_CELLS = {"td", "th"}
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)


def declared_encoding(head: bytes) -> str | None:
    """Return the encoding that a page names in its first bytes, if it does."""
    found = _CHARSET.search(head)
    return found[1].decode("ascii") if found else None


class VisibleText:
    """A target for lxml's parser that keeps the sections of a page."""

    def __init__(self) -> None:
        self._outline = Outline()
        self._complete: list[Section] = []
        self._line: list[str] = []
        self._length = 0
        self._after_cell = False
        self._hidden = 0  # how many elements are open, from the outermost hidden one on
        self._preformatted = 0
        self._heading: str | None = None

    def take(self) -> Iterator[Section]:
        """Yield the sections that are complete by now."""
        yield from self._complete
        self._complete.clear()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        if self._hidden or tag in _INVISIBLE or _is_hidden(attributes):
            self._hidden += 1
            return
        if tag in _CELLS:
            self._line.append(" | " if self._after_cell else "")
            self._after_cell = True
        if tag not in _INLINE:
            self._end_line()
        if tag == "pre":
            self._preformatted += 1
        if _level(tag):
            self._heading = tag

    def end(self, tag: str) -> None:
        """An element ends; void ones, and those without an end tag, too."""
        if self._hidden:
            self._hidden -= 1
            return
        if tag == self._heading:
            self._complete.extend(self._outline.heading(_level(tag), "".join(self._line)))
            self._line.clear()
            self._length = 0
            self._heading = None
        if tag not in _INLINE:
            self._end_line()
        if tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)

    def data(self, text: str) -> None:
        """Text comes."""
        if self._hidden:
            return
        self._line.append(text)
        self._length += len(text)
        if self._length > MOST_CHARACTERS:
            self._end_line()

    def close(self) -> None:
        """The page ends."""
        self._end_line()
        self._complete.extend(self._outline.end())

    def _end_line(self) -> None:
        if self._heading is not None and self._length <= MOST_CHARACTERS:
            self._line.append(" ")  # a line break in a heading is a space
            return
        text = "".join(self._line)
        self._line.clear()
        self._length = 0
        self._after_cell = False
        text = text.strip("\n") if self._preformatted else " ".join(text.split())
        if text.strip():
            self._complete.extend(self._outline.add(text))


def _is_hidden(attributes: dict[str, str]) -> bool:
    return "hidden" in attributes or bool(_HIDDEN_STYLE.search(attributes.get("style", "")))


def _level(tag: str) -> int:
    return int(tag[1]) if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456" else 0
