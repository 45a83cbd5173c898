"""The e-mail loader: the header fields that matter to a reader, and the body."""

from collections.abc import Iterator
from email import message_from_binary_file, policy
from email.message import MIMEPart

from lxml.etree import HTMLParser

from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.html import VisibleText
from project3_rag_docs.ingestion.parsing.sections import Section, split_long

_FIELDS = ("Subject", "From", "To", "Cc", "Date")
_MAX_NAMED = 20  # attachments in the notice


class EmlLoader(Loader):
    """Reads an e-mail under its subject, the body in HTML if there is one."""

    kind = "e-mail"

    def _sections(self) -> Iterator[Section]:
        with self._path.open("rb") as file:
            message = message_from_binary_file(file, policy=policy.default)
        subject = " ".join(str(message["subject"] or "").split()) or None
        lines = [f"{name}: {' '.join(str(message[name]).split())}" for name in _FIELDS if message[name]]
        yield Section("\n".join(lines), heading=subject)
        bodies = list(_bodies(message))
        for body in bodies:
            text = _content(body)
            sections = _visible(text) if body.get_content_type() == "text/html" else map(Section, split_long([text]))
            for section in sections:
                path = [name for name in (subject, section.heading) if name]
                yield section._replace(heading=" > ".join(path) or None)
        attached = [part for part in message.iter_attachments() if part not in bodies]
        names = [part.get_filename() or part.get_content_type() for part in attached]
        if names:
            more = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
            self.notices.append(f"Attachments are not read: {', '.join(names[:_MAX_NAMED])}{more}.")


def _bodies(part: MIMEPart) -> Iterator[MIMEPart]:
    """Yield the texts that are shown one after the other, such as the rest of the body after a picture."""
    if part.get_content_type() == "multipart/mixed":
        for child in part.iter_parts():
            yield from _bodies(child)
    elif not part.get_filename() and (body := part.get_body(preferencelist=("html", "plain"))) is not None:
        yield body


def _content(body: MIMEPart) -> str:
    try:
        return str(body.get_content())
    except LookupError:  # an unknown charset
        return bytes(body.get_payload(decode=True) or b"").decode("utf-8", "replace")


def _visible(text: str) -> Iterator[Section]:
    visible = VisibleText()
    parser = HTMLParser(target=visible, no_network=True)
    parser.feed(text)
    parser.close()
    yield from visible.pop_sections()
