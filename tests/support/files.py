"""Makes documents to upload: good ones in every format, and every kind of broken one."""

import io
import struct
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import docx
import openpyxl
import pptx
from pptx.util import Cm
from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, StreamObject

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PARAGRAPH = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"


def pdf(path: Path, pages: Sequence[str], *, outline: Iterable[tuple[str, int]] = (), password: str = "") -> Path:
    """Write a PDF with a line of text on each page.

    Args:
        path: Where to.
        pages: The text of each; ASCII.
        outline: Titles, and the pages (from 0) that they stand for.
        password: Without which it cannot be opened.
    """
    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(300, 200)
        font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}
        fonts = DictionaryObject({NameObject("/F1"): _dictionary(font)})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        page[NameObject("/Contents")] = writer._add_object(_stream(f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET".encode()))
    for title, number in outline:
        writer.add_outline_item(title=title, page_number=number)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    writer.write(path)
    return path


def image_pdf(path: Path) -> Path:
    """Write a PDF whose only page is a picture, as a scanner makes it."""
    writer = PdfWriter()
    page = writer.add_blank_page(300, 200)
    image = _stream(bytes(300))
    for name, value in {"/Type": "/XObject", "/Subtype": "/Image", "/ColorSpace": "/DeviceRGB"}.items():
        image[NameObject(name)] = NameObject(value)
    sizes = writer._add_object(image)
    page[NameObject("/Resources")] = DictionaryObject(
        {NameObject("/XObject"): DictionaryObject({NameObject("/Im1"): sizes})}
    )
    page[NameObject("/Contents")] = writer._add_object(_stream(b"q 300 0 0 200 0 0 cm /Im1 Do Q"))
    writer.write(path)
    return path


def truncated(path: Path, share: float = 0.6) -> Path:
    """Cut off the end of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def word(path: Path, blocks: Iterable[tuple[str, str] | list[list[str]]]) -> Path:
    """Write a Word document of paragraphs, each with its style, and tables."""
    document = docx.Document()
    for block in blocks:
        if isinstance(block, tuple):
            style, text = block
            document.add_paragraph(text, style=style or None)
        else:
            table = document.add_table(rows=len(block), cols=len(block[0]))
            for row, texts in zip(table.rows, block, strict=True):
                for cell, text in zip(row.cells, texts, strict=True):
                    cell.text = text
    document.save(str(path))
    return path


def slides(path: Path, texts: Iterable[tuple[str, str, str]]) -> Path:
    """Write a presentation: of each slide the title, the text and the notes."""
    presentation = pptx.Presentation()
    for title, text, notes in texts:
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text_frame.text = title
        slide.placeholders[1].text_frame.text = text
        if notes:
            frame = slide.notes_slide.notes_text_frame
            assert frame
            frame.text = notes
    presentation.save(str(path))
    return path


def slide_with_table_and_group(path: Path) -> Path:
    """Write a presentation whose one slide has no title, but a table and a group of shapes."""
    presentation = pptx.Presentation()
    shapes = presentation.slides.add_slide(presentation.slide_layouts[6]).shapes
    table = shapes.add_table(2, 2, Cm(1), Cm(1), Cm(10), Cm(5)).table
    for number, text in enumerate("abcd"):
        table.cell(number // 2, number % 2).text = text
    shapes.add_group_shape().shapes.add_textbox(Cm(1), Cm(8), Cm(5), Cm(2)).text_frame.text = "In a group"
    presentation.save(str(path))
    return path


def workbook(path: Path, sheets: dict[str, Iterable[Sequence[object]]]) -> Path:
    """Write a workbook: the rows of each sheet by its name."""
    book = openpyxl.Workbook(write_only=True)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def word_with_xml(path: Path, pieces: Iterable[bytes]) -> Path:
    """Write a valid Word document around any `word/document.xml`, piece by piece."""
    template = io.BytesIO()
    docx.Document().save(template)
    with zipfile.ZipFile(template) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for part in old.infolist():
            if part.filename != "word/document.xml":
                new.writestr(part, old.read(part))
        with new.open("word/document.xml", "w", force_zip64=True) as document:
            for piece in pieces:
                document.write(piece)
    return path


def word_xml(body: str, before: str = "") -> bytes:
    """Return a `word/document.xml` with these paragraphs."""
    return f'<?xml version="1.0"?>{before}<w:document xmlns:w="{_W}"><w:body>{body}</w:body></w:document>'.encode()


def zip_bomb(path: Path, size: int = 500 * 2**20) -> Path:
    """Write a valid Word document, some MiB on disk, whose paragraphs are half a GiB of text."""
    begin, _, end = word_xml("@").partition(b"@")
    paragraph = _PARAGRAPH.format("All work and no play. " * 40_000).encode()
    pieces = [begin, *[paragraph] * (size // len(paragraph) + 1), end]
    return word_with_xml(path, pieces)


def lying_zip_bomb(path: Path, claimed: int = 1000) -> Path:
    """Write a zip bomb whose directory says that its text is small."""
    zip_bomb(path)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"word/document.xml") - 46
    assert content[entry : entry + 4] == b"PK\x01\x02"
    struct.pack_into("<I", content, entry + 24, claimed)
    path.write_bytes(content)
    return path


def billion_laughs(path: Path) -> Path:
    """Write a Word document whose text is an entity made of ten entities made of ten, and so on: 10 GB."""
    entities = '<!ENTITY lol0 "ha">' + "".join(
        f'<!ENTITY lol{level} "{f"&lol{level - 1};" * 10}">' for level in range(1, 10)
    )
    xml = word_xml(_PARAGRAPH.format("&lol9;"), before=f"<!DOCTYPE document [{entities}]>")
    return word_with_xml(path, [xml])


def external_entity(path: Path, secret: Path, *, text: str = "A visible sentence.") -> Path:
    """Write a Word document that asks for the content of another file of the server."""
    declaration = f'<!DOCTYPE document [<!ENTITY secret SYSTEM "{secret.as_uri()}">]>'
    body = _PARAGRAPH.format(text) + _PARAGRAPH.format("&secret;")
    return word_with_xml(path, [word_xml(body, before=declaration)])


def many_parts(path: Path, number: int) -> Path:
    """Write a Word document with this many more parts than it needs."""
    word(path, [("", "Text.")])
    with zipfile.ZipFile(path, "a") as archive:
        for part in range(number):
            archive.writestr(f"word/media/{part}.txt", b"")
    return path


def one_line(path: Path, size: int = 50 * 2**20) -> Path:
    """Write a text without any line end."""
    block = b"The same words again and again. " * 32768
    with path.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
    return path


def mixed_encodings(path: Path) -> Path:
    """Write a text of which one half is UTF-8 and the other GBK."""
    text = "星云咖啡机的保修期为两年。请联系客服中心办理退货手续。\n" * 500
    path.write_bytes(text.encode() + text.encode("gbk"))
    return path


def old_office(path: Path, *, encrypted: bool) -> Path:
    """Write the beginning of what Office wrote before 2007, or writes today around a file with a password."""
    name = "EncryptedPackage" if encrypted else "WordDocument"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1024) + name.encode("utf-16-le") + bytes(1024))
    return path


def _stream(data: bytes) -> StreamObject:
    stream = StreamObject()
    stream.set_data(data)
    return stream


def _dictionary(names: dict[str, str]) -> DictionaryObject:
    return DictionaryObject({NameObject(key): NameObject(value) for key, value in names.items()})
