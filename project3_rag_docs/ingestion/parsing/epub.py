"""The EPUB loader: the chapters of a book in their order, which are pages in HTML."""

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote

from lxml.etree import HTMLParser

from project3_rag_docs.ingestion.parsing import UnreadableDocument
from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.html import VisibleText, declared_encoding
from project3_rag_docs.ingestion.parsing.ooxml import Package
from project3_rag_docs.ingestion.parsing.sections import Section

_BLOCK = 64 * 1024


class EpubLoader(Loader):
    """Reads EPUB: a section per heading of each chapter."""

    kind = "EPUB file"

    def _sections(self) -> Iterator[Section]:
        package = Package(self._path, self._limits, self.kind)
        if package.tree("META-INF/rights.xml") is not None:
            raise UnreadableDocument("The EPUB file is protected against copying.")
        missing = 0
        for chapter in _chapters(package):
            try:
                yield from self._chapter(package, chapter)
            except KeyError:
                missing += 1
        if missing:
            self.notices.append(f"{missing:,} chapters are missing in the file.")

    def _chapter(self, package: Package, name: str) -> Iterator[Section]:
        visible = VisibleText()
        with package.open(name) as stream:
            block = stream.read(_BLOCK)
            parser = HTMLParser(target=visible, no_network=True, encoding=declared_encoding(block[:4096]) or "utf-8")
            while block:
                parser.feed(block)
                yield from visible.pop_sections()
                block = stream.read(_BLOCK)
        parser.close()
        yield from visible.pop_sections()


def _chapters(package: Package) -> Iterator[str]:
    """Yield the names of the parts that the spine of the book lists, without the table of contents."""
    container = package.required_tree("META-INF/container.xml")
    book = next(str(root.get("full-path")) for root in container.iter("{*}rootfile"))
    tree = package.required_tree(book)
    items = {item.get("id"): item for item in tree.iter("{*}item")}
    for reference in tree.iter("{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is not None and "nav" not in (item.get("properties") or "").split():
            yield posixpath.normpath(posixpath.join(posixpath.dirname(book), unquote(item.get("href", ""))))
