"""Citations as annotations of a text: each belongs to a marker such as `[1]`, at its place."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from project4_agent_api.wires.items import Citation

_MARKER = re.compile(r"\[(\d{1,6})\]")


@dataclass(frozen=True)
class Annotation:
    """A citation, and the place of its marker in the text."""

    citation: Citation
    start: int
    end: int

    @property
    def title(self) -> str:
        """The name of the document, with the page."""
        page = self.citation.page
        return self.citation.filename if page is None else f"{self.citation.filename}, p. {page}"

    def url(self, base_url: str) -> str:
        """Return the address of the document's file; its page is a fragment, which PDF viewers open."""
        page = "" if self.citation.page is None else f"#page={self.citation.page}"
        return f"{base_url.rstrip('/')}/documents/{self.citation.document_id}/file{page}"


def annotate(text: str, citations: Sequence[Citation]) -> Iterator[Annotation]:
    """Yield the annotations of a text. A passage that was found, but is not cited, has none.

    If a marker has several citations, they belong to its places in their order.
    """
    by_marker = defaultdict[int, list[Citation]](list)
    for citation in citations:
        by_marker[citation.marker].append(citation)
    places = defaultdict[int, int](int)
    for match in _MARKER.finditer(text):
        marker = int(match[1])
        if found := by_marker.get(marker):
            place = min(places[marker], len(found) - 1)
            places[marker] += 1
            yield Annotation(found[place], match.start(), match.end())
