"""The HTML loader: the visible text of a page, collected by a streaming parser that builds no tree."""

import re
from collections.abc import Iterator

from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.decoding import decode_file
from project3_rag_docs.ingestion.parsing.sections import MAX_CHARACTERS, Outline, Section

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


class HtmlLoader(Loader):
    """Reads HTML with lxml: a section per heading."""

    kind = "HTML page"

    def _sections(self) -> Iterator[Section]:
        from lxml.etree import HTMLParser  # noqa: PLC0415  a slow import, needed for this format only

        visible = VisibleText()
        parser = HTMLParser(target=visible, no_network=True)
        with self._path.open("rb") as file:
            encoding = declared_encoding(file.read(4096))
        for block in decode_file(self._path, declared=encoding):
            parser.feed(block)
            yield from visible.pop_sections()
        parser.close()
        yield from visible.pop_sections()


def declared_encoding(head: bytes) -> str | None:
    """Return the encoding that the first bytes of a page declare, if any."""
    found = _CHARSET.search(head)
    return found[1].decode("ascii") if found else None


class VisibleText:
    """A parser target for lxml that collects the sections of a page."""

    def __init__(self) -> None:
        self._outline = Outline()
        self._complete: list[Section] = []
        self._line: list[str] = []
        self._length = 0
        self._after_cell = False
        self._hidden = 0  # depth of open elements, counted from the outermost hidden one
        self._preformatted = 0
        self._heading: str | None = None

    def pop_sections(self) -> Iterator[Section]:
        """Yield the sections that are complete, and forget them."""
        yield from self._complete
        self._complete.clear()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Handle a start tag."""
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
        """Handle an end tag. The parser calls this for void elements and for missing end tags, too."""
        if self._hidden:
            self._hidden -= 1
            return
        if tag == self._heading:
            self._complete.extend(self._outline.start_section(_level(tag), "".join(self._line)))
            self._line.clear()
            self._length = 0
            self._heading = None
        if tag not in _INLINE:
            self._end_line()
        if tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)

    def data(self, text: str) -> None:
        """Handle text between tags."""
        if self._hidden:
            return
        self._line.append(text)
        self._length += len(text)
        if self._length > MAX_CHARACTERS:
            self._end_line()

    def close(self) -> None:
        """Handle the end of the page."""
        self._end_line()
        self._complete.extend(self._outline.finish())

    def _end_line(self) -> None:
        if self._heading is not None and self._length <= MAX_CHARACTERS:
            self._line.append(" ")  # a line break in a heading is a space
            return
        text = "".join(self._line)
        self._line.clear()
        self._length = 0
        self._after_cell = False
        text = text.strip("\n") if self._preformatted else " ".join(text.split())
        if text.strip():
            self._complete.extend(self._outline.add_line(text))


def _is_hidden(attributes: dict[str, str]) -> bool:
    return "hidden" in attributes or bool(_HIDDEN_STYLE.search(attributes.get("style", "")))


def _level(tag: str) -> int:
    return int(tag[1]) if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456" else 0
