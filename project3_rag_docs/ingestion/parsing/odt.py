"""The OpenDocument loader: `content.xml`, whose elements are read as those of a page."""

from collections.abc import Iterator, Mapping

from lxml import etree

from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.html import VisibleText
from project3_rag_docs.ingestion.parsing.ooxml import Package
from project3_rag_docs.ingestion.parsing.sections import Section

_TAGS = {"p": "p", "list-item": "li", "table": "table", "table-row": "tr"}
_SKIPPED = {"tracked-changes", "annotation", "note-citation", "forms", "ruby-text"}
_MAX_REPEATED = 100  # empty cells or spaces, which one element can stand for
_BLOCK = 64 * 1024


class OdtLoader(Loader):
    """Reads OpenDocument texts: a section per heading, and tables."""

    kind = "OpenDocument file"

    def _sections(self) -> Iterator[Section]:
        package = Package(self._path, self._limits, self.kind)
        visible = VisibleText()
        parser = etree.XMLParser(target=_Translator(visible), resolve_entities=False, no_network=True, huge_tree=True)
        with package.open("content.xml") as stream:
            while block := stream.read(_BLOCK):
                parser.feed(block)
                yield from visible.pop_sections()
        parser.close()
        yield from visible.pop_sections()


class _Translator:
    """A parser target that passes the elements of OpenDocument to that of a page, by the tags of HTML."""

    def __init__(self, visible: VisibleText) -> None:
        self._visible = visible
        self._open: list[tuple[str, str]] = []  # the names of the open elements, and their tags in HTML
        self._skipped = 0
        self._notes: list[str] = []
        self._note_depth = 0
        self._in_header = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Handle a start tag."""
        name = tag.rpartition("}")[2]
        values = {key.rpartition("}")[2]: value for key, value in attributes.items()}
        if self._skipped or name in _SKIPPED:
            self._skipped += 1
            return
        if self._note_depth or name == "note-body":
            self._note_depth += 1
            if name == "note-body":
                self._notes.append("")
            return
        if name == "table-header-rows":
            self._in_header += 1
        elif name in {"s", "tab", "line-break"}:
            self._visible.data(" " * min(_MAX_REPEATED, _number(values.get("c"))))
        translated = self._translate(name, values)
        self._open.append((name, translated))
        if translated:
            spans = {"colspan": "number-columns-spanned", "rowspan": "number-rows-spanned"}
            self._visible.start(translated, {key: values[name] for key, name in spans.items() if name in values})
        if name == "table-cell":
            for _ in range(min(_MAX_REPEATED, _number(values.get("number-columns-repeated"))) - 1):  # empty ones
                self._visible.end(translated)
                self._visible.start(translated, {})

    def _translate(self, name: str, values: Mapping[str, str]) -> str:
        """Return the tag of HTML for an element; empty if it has none."""
        if name == "h":
            return f"h{min(6, _number(values.get('outline-level')))}"
        if name == "table-cell":
            return "th" if self._in_header else "td"
        return _TAGS.get(name, "")

    def end(self, tag: str) -> None:
        """Handle an end tag."""
        del tag
        if self._skipped:
            self._skipped -= 1
            return
        if self._note_depth:
            self._note_depth -= 1
            return
        name, translated = self._open.pop()
        if name == "table-header-rows":
            self._in_header -= 1
        if translated:
            self._visible.end(translated)
            if translated == "p" or translated.startswith("h"):
                self._end_notes()

    def data(self, text: str) -> None:
        """Handle text between tags."""
        if self._note_depth:
            self._notes[-1] += text
        elif not self._skipped and self._open[-1][0] != "note":  # whose parts are elements
            self._visible.data(text)

    def close(self) -> None:
        """Handle the end of the file."""
        self._visible.close()

    def _end_notes(self) -> None:
        """Add the notes of a paragraph after it."""
        for note in self._notes:
            self._visible.start("p", {})
            self._visible.data(note)
            self._visible.end("p")
        self._notes.clear()


def _number(value: str | None) -> int:
    return int(value) if value and value.isdecimal() else 1
