"""The text of a page, as a reader would see it."""

import codecs

from lxml.etree import HTMLParser, LxmlError

from project3_rag_docs.ingestion.parsing.decoding import clean, usable
from project3_rag_docs.ingestion.parsing.html import VisibleText, declared_encoding
from project3_rag_docs.ingestion.parsing.sections import Section

_HTML = {"text/html", "application/xhtml+xml"}
_BLOCK = 64 * 1024


def text_of(content: bytes, media_type: str, charset: str | None) -> str:
    """Return the text of a page.

    Args:
        content: The page; its end may be missing.
        media_type: Of it.
        charset: The encoding that the server names, if it does.
    """
    declared = charset or (declared_encoding(content[:4096]) if media_type in _HTML else None)
    text = clean(content.decode(_encoding(declared), "replace"))
    return _visible(text) if media_type in _HTML else text.strip()


def _encoding(declared: str | None) -> str:
    if usable(declared):
        return declared or ""
    try:
        name = codecs.lookup(declared or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8"
    return name if name.startswith(("utf-16", "utf-32")) else "utf-8"


def _visible(text: str) -> str:
    visible = VisibleText()
    parser = HTMLParser(target=visible, no_network=True, huge_tree=True)
    sections: list[Section] = []
    try:
        for start in range(0, len(text), _BLOCK):
            parser.feed(text[start : start + _BLOCK])
            sections += visible.take()
        parser.close()
    except LxmlError:
        pass  # a page of nothing, or one that ends in the middle: what was read until then is what there is
    sections += visible.take()
    blocks: list[str] = []
    heading = None
    for section in sections:
        if section.heading and section.heading != heading:
            heading = section.heading
            blocks.append(f"# {heading}")
        blocks.append(section.text)
    return "\n\n".join(block for block in blocks if block.strip())
