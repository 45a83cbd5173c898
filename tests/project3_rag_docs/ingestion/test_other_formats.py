"""The text of OpenDocument files, EPUB books and e-mails."""

import io
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest

from project3_rag_docs.ingestion.parsing import ParseLimits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.loaders import loader_for
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from project3_rag_docs.ingestion.upload import read_upload

_NAMES = " ".join(
    f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for short, name in (("office", "office"), ("text", "text"), ("table", "table"))
)


def package(mimetype: str, parts: dict[str, str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("mimetype", mimetype)
        for name, content in parts.items():
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def odt(body: str) -> bytes:
    content = f"<office:document-content {_NAMES}><office:body><office:text>{body}</office:text></office:body>"
    return package(MediaType.ODT, {"content.xml": f"<?xml version='1.0'?>{content}</office:document-content>"})


def epub(chapters: dict[str, str], more: dict[str, str] | None = None, spine: list[str] | None = None) -> bytes:
    items = "".join(f'<item id="{name}" href="text/{name}.xhtml"/>' for name in chapters)
    order = "".join(f'<itemref idref="{name}"/>' for name in spine or chapters)
    book = f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}<item id="nav" href="nav.xhtml" '
    book += f'properties="nav"/></manifest><spine><itemref idref="nav"/>{order}</spine></package>'
    container = '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    parts = {"META-INF/container.xml": f'{container}<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'}
    parts |= {"OEBPS/book.opf": book, "OEBPS/nav.xhtml": "<p>Contents</p>"}
    parts |= {f"OEBPS/text/{name}.xhtml": f"<html><body>{text}</body></html>" for name, text in chapters.items()}
    return package(MediaType.EPUB, parts | (more or {}))


def read(tmp_path: Path, name: str, content: bytes) -> tuple[MediaType, list[tuple[str | None, str]], list[str]]:
    """Return the media type that an upload gets, the sections with their headings, and the notices."""
    media_type = read_upload(name, io.BytesIO(content)).media_type
    path = tmp_path / "file"
    path.write_bytes(content)
    loader = loader_for(media_type, path)
    sections = [(document.metadata["heading"], document.page_content) for document in loader.lazy_load()]
    return media_type, sections, loader.notices


def test_odt_has_headings_lists_notes_and_tables(tmp_path: Path) -> None:
    body = """
        <text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>
        <text:h text:outline-level="1">Guide</text:h>
        <text:p>Two<text:s text:c="2"/>words<text:note><text:note-citation>1</text:note-citation>
        <text:note-body><text:p>A note.</text:p></text:note-body></text:note>, and<text:line-break/>more.</text:p>
        <text:h text:outline-level="2">Prices</text:h>
        <text:list><text:list-item><text:p>First</text:p></text:list-item></text:list>
        <table:table><table:table-header-rows><table:table-row>
        <table:table-cell><text:p>Fruit</text:p></table:table-cell><table:table-cell><text:p>Price</text:p>
        </table:table-cell></table:table-row></table:table-header-rows>
        <table:table-row><table:table-cell><text:p>Quince</text:p></table:table-cell>
        <table:table-cell><text:p>4.50</text:p></table:table-cell></table:table-row></table:table>
    """

    media_type, sections, _ = read(tmp_path, "guide.odt", odt(body))

    assert media_type == MediaType.ODT
    assert sections == [
        ("Guide", "Two words, and more.\nA note."),
        ("Guide > Prices", "First"),
        ("Guide > Prices", "Fruit: Quince; Price: 4.50"),
    ]


def test_chinese_odt_with_empty_cells_is_read(tmp_path: Path) -> None:
    cells = (
        '<table:table-cell table:number-columns-repeated="2"/><table:table-cell><text:p>三</text:p></table:table-cell>'
    )
    body = f"<text:p>图书馆</text:p><table:table><table:table-row>{cells}</table:table-row></table:table>"

    _, sections, _ = read(tmp_path, "没有后缀", odt(body))

    assert "".join(text for _, text in sections).replace("\n", "") == "图书馆三"


def test_epub_is_read_in_the_order_of_its_spine(tmp_path: Path) -> None:
    chapters = {"two": "<h1>Two</h1><p>The end.</p>", "one": "<h1>One</h1><h2>Start</h2><p>It begins.</p>"}

    media_type, sections, notices = read(tmp_path, "book.epub", epub(chapters, spine=["one", "two", "lost"]))

    assert media_type == MediaType.EPUB
    assert sections == [("One > Start", "It begins."), ("Two", "The end.")]
    assert notices == []


def test_epub_says_what_it_lacks(tmp_path: Path) -> None:
    whole = epub({"a": "<p>图书馆九点开门。</p>", "b": "<p>Gone.</p>"})
    source, made = zipfile.ZipFile(io.BytesIO(whole)), io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for part in source.infolist():
            if not part.filename.endswith("b.xhtml"):
                archive.writestr(part, source.read(part))

    _, sections, notices = read(tmp_path, "book.epub", made.getvalue())

    assert (sections, notices) == ([(None, "图书馆九点开门。")], ["1 chapters are missing in the file."])
    with pytest.raises(UnreadableDocument, match="protected against copying"):
        read(tmp_path, "locked.epub", epub({"a": "<p>x</p>"}, {"META-INF/rights.xml": "<rights/>"}))


def test_email_has_its_fields_body_and_attachments(tmp_path: Path) -> None:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Öffnungszeiten", "Ada <ada@example.com>", "bob@example.com"
    message.set_content("plain")
    message.add_alternative("<h2>Hours</h2><p>We open at <b>nine</b>.</p><style>p {}</style>", subtype="html")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="plan.pdf")

    media_type, sections, notices = read(tmp_path, "mail.eml", bytes(message))

    assert media_type == MediaType.EMAIL
    assert sections == [
        ("Öffnungszeiten", "Subject: Öffnungszeiten\nFrom: Ada <ada@example.com>\nTo: bob@example.com"),
        ("Öffnungszeiten > Hours", "We open at nine."),
    ]
    assert notices == ["Attachments are not read: plan.pdf."]


@pytest.mark.parametrize("subtype", ["plain", "html"])
def test_email_is_read_to_its_end(tmp_path: Path, subtype: str) -> None:
    message = EmailMessage()
    message["Subject"] = "Plan"
    message.set_content("Before the picture.")
    message.add_attachment(b"GIF8", maintype="image", subtype="gif", filename="a.gif", disposition="inline")
    message.add_attachment("After the picture.", subtype=subtype, disposition="inline")
    message.add_attachment("Not shown.", filename="notes.txt")

    _, sections, notices = read(tmp_path, "mail.eml", bytes(message))

    assert sections == [("Plan", "Subject: Plan"), ("Plan", "Before the picture."), ("Plan", "After the picture.")]
    assert notices == ["Attachments are not read: a.gif, notes.txt."]


def test_chinese_email_without_a_subject_is_read(tmp_path: Path) -> None:
    head = b"From: a@example.com\r\nContent-Type: text/plain; charset=gb2312\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"

    _, sections, notices = read(tmp_path, "mail.eml", head + "图书馆九点开门。".encode("gb2312"))
    _, unknown, _ = read(tmp_path, "mail.eml", head.replace(b"gb2312", b"x-none") + "九点".encode())

    assert sections == [(None, "From: a@example.com"), (None, "图书馆九点开门。")]
    assert unknown[-1] == (None, "九点")
    assert notices == []


def test_damaged_packages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for media_type, content in (
        (MediaType.ODT, package(MediaType.ODT, {"other.xml": "<a/>"})),
        (MediaType.ODT, package(MediaType.ODT, {"content.xml": "<a><b>"})),
        (MediaType.EPUB, package(MediaType.EPUB, {})),
    ):
        path.write_bytes(content)
        with pytest.raises(UnreadableDocument, match="damaged or incomplete"):
            list(loader_for(media_type, path).lazy_load())
    path.write_bytes(odt("<text:p>x</text:p>" * 100))
    with pytest.raises(UnreadableDocument, match="when it is unpacked"):
        list(loader_for(MediaType.ODT, path, ParseLimits(unpacked_bytes=1000)).lazy_load())


def test_rtf_has_text_and_tables(tmp_path: Path) -> None:
    row = r"\trowd\cellx1000\cellx2000 \intbl %s\cell %s\cell\row "
    body = r"Prices of \b all\b0  birds\par " + row % ("Bird", "Price") + row % ("Heron", "12") + row % ("Otter", "7")
    head, end = r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\info{\title Hidden}}", r"\pard Caf\'e9 \'80 5\par}"

    media_type, sections, _ = read(tmp_path, "prices.rtf", f"{head}{body}{end}".encode())

    assert media_type == MediaType.RTF
    assert sections == [
        (None, "Prices of all birds"),
        (None, "Bird: Heron; Price: 12\nBird: Otter; Price: 7"),
        (None, "Café € 5"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        r"\u33485?\u40557?",
        r"\uc0\u33485\u40557",
        r"\f1\'b2\'d4\'f0\'d8",
        "\\f1 " + "苍鹭".encode("gbk").decode("latin-1"),
        r"{\*\generator Word;}\u33485\'3f\u40557\'3f",
    ],
    ids=["unicode", "no substitute", "code page", "raw bytes", "hidden group"],
)
def test_rtf_has_chinese_text(tmp_path: Path, text: str) -> None:
    content = r"{\rtf1\ansi\ansicpg936{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset134 SimSun;}}" + text + r"\par}"

    media_type, sections, _ = read(tmp_path, "鸟.doc", content.encode("latin-1"))

    assert (media_type, sections) == (MediaType.RTF, [(None, "苍鹭")])


def test_rtf_has_characters_beyond_the_first_plane(tmp_path: Path) -> None:
    _, sections, _ = read(tmp_path, "a.rtf", rb"{\rtf1 \u-10179?\u-8704? and a lone \u-10179?}")

    assert sections == [(None, "\U0001f600 and a lone \ufffd")]


def test_damaged_rtf_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match="The RTF file cannot be read; it is damaged or incomplete"):
        read(tmp_path, "a.rtf", rb"{\rtf1 \u9999999999?}")


def test_picture_of_an_rtf_is_left_out(tmp_path: Path) -> None:
    _, sections, _ = read(tmp_path, "a.rtf", rb"{\rtf1 Before {\pict\bin ffd8}{\pict\bin3 a}b}after.}")

    assert sections == [(None, "Before after.")]
