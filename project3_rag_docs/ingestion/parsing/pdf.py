"""The PDF loader: a section per page, under the heading that the outline gives it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from project3_rag_docs.ingestion.parsing import UnreadableDocument
from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.sections import Section

if TYPE_CHECKING:
    from pypdf import PdfReader


class PdfLoader(Loader):
    """Reads PDFs with pypdf."""

    kind = "PDF"

    def _sections(self) -> Iterator[Section]:
        from pypdf import PdfReader  # noqa: PLC0415  a slow import, needed for this format only
        from pypdf.errors import DependencyError, FileNotDecryptedError  # noqa: PLC0415  a slow import, needed for this format only

        with PdfReader(self._path) as reader:
            try:
                pages = len(reader.pages)
            except FileNotDecryptedError as error:
                raise UnreadableDocument("The PDF is protected by a password. Save it without one.") from error
            except DependencyError as error:
                raise UnreadableDocument("The PDF is encrypted. Save it without protection.") from error
            if pages > self._limits.pages:
                raise UnreadableDocument(f"The PDF has more than {self._limits.pages:,} pages.")
            headings = dict(_headings(reader))
            heading = None
            any_text = False
            for number, page in enumerate(reader.pages, start=1):
                heading = headings.get(number, heading)
                text = page.extract_text()
                any_text = any_text or bool(text.strip())
                yield Section(text, page=number, heading=heading)
        if not any_text:
            raise UnreadableDocument("The PDF has no text in it; it may be scanned images.")


def _headings(reader: "PdfReader") -> Iterator[tuple[int, str]]:
    """Yield page numbers, each with the first heading of the outline on that page. A damaged outline is ignored."""
    from pypdf.errors import PyPdfError  # noqa: PLC0415  a slow import, needed for this format only

    with suppress(PyPdfError, LookupError, TypeError, ValueError, AttributeError):
        seen = set()
        for path, destination in _flatten_outline(reader.outline, []):
            page = reader.get_destination_page_number(destination)
            if page is not None and page not in seen:
                seen.add(page)
                yield page + 1, " > ".join(path)


def _flatten_outline(items: Sequence[Any], parents: list[str]) -> Iterator[tuple[list[str], Any]]:
    path = parents
    for item in items:
        if isinstance(item, list):  # the children of the previous item
            yield from _flatten_outline(item, path)
        else:
            path = [*parents, " ".join(str(item.title or "").split())[:500]]
            yield path, item
