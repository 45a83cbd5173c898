"""Extract the visible text of a page."""

import codecs

from lxml.etree import HTMLParser, LxmlError

from project3_rag_docs.ingestion.parsing.decoding import WEB_ERRORS, remove_control_characters, web_encoding
from project3_rag_docs.ingestion.parsing.html import VisibleText, declared_encoding
from project3_rag_docs.ingestion.parsing.sections import Section

_HTML = {"text/html", "application/xhtml+xml"}
_BLOCK = 64 * 1024


def page_text(content: bytes, media_type: str, charset: str | None) -> str:
    """Return the visible text of a page.

    Args:
        content: The page, possibly truncated.
        media_type: One of the text types that are fetched.
        charset: The charset that the server declares, if any.
    """
    declared = charset or (declared_encoding(content[:4096]) if media_type in _HTML else None)
    text = remove_control_characters(content.decode(_encoding(declared), WEB_ERRORS))
    return _visible_text(text) if media_type in _HTML else text.strip()


def _encoding(declared: str | None) -> str:
    if (encoding := web_encoding(declared)) is not None:
        return encoding
    try:
        name = codecs.lookup(declared or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8"
    return name if name.startswith(("utf-16", "utf-32")) else "utf-8"


def _visible_text(text: str) -> str:
    visible = VisibleText()
    parser = HTMLParser(target=visible, no_network=True, huge_tree=True)
    sections: list[Section] = []
    try:
        for start in range(0, len(text), _BLOCK):
            parser.feed(text[start : start + _BLOCK])
            sections += visible.pop_sections()
        parser.close()
    except LxmlError:
        pass  # an empty or truncated page: keep the text that was parsed
    sections += visible.pop_sections()
    blocks: list[str] = []
    heading = None
    for section in sections:
        if section.heading and section.heading != heading:
            heading = section.heading
            blocks.append(f"# {heading}")
        blocks.append(section.text)
    return "\n\n".join(block for block in blocks if block.strip())
