"""Office files as other programs write them: parts renamed, missing, odd or in another namespace."""

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import docx
import openpyxl
import pptx

_RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_STRICT = {
    b"http://schemas.openxmlformats.org/wordprocessingml/2006/main": b"http://purl.oclc.org/ooxml/wordprocessingml/main",
    b"http://schemas.openxmlformats.org/spreadsheetml/2006/main": b"http://purl.oclc.org/ooxml/spreadsheetml/main",
    b"http://schemas.openxmlformats.org/presentationml/2006/main": b"http://purl.oclc.org/ooxml/presentationml/main",
    b"http://schemas.openxmlformats.org/drawingml/2006/main": b"http://purl.oclc.org/ooxml/drawingml/main",
    _RELATIONSHIPS.encode(): b"http://purl.oclc.org/ooxml/officeDocument/relationships",
}
SENTENCE = "The warranty is two years."
Change = Callable[[bytes], bytes]


def word(path: Path) -> Path:
    """Write a Word document with a heading, a sentence and a table."""
    document = docx.Document()
    document.add_heading("Warranty", 1)
    document.add_paragraph(SENTENCE)
    document.add_table(1, 2).cell(0, 0).text = "Article"
    document.save(str(path))
    return path


def slides(path: Path) -> Path:
    """Write a presentation with one slide."""
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text_frame.text = "Warranty"
    slide.placeholders[1].text_frame.text = SENTENCE
    presentation.save(str(path))
    return path


def workbook(path: Path) -> Path:
    """Write a workbook with a header and a row."""
    book = openpyxl.Workbook()
    for row in (["Article", "Warranty", "Price"], ["Kettle", SENTENCE, 20]):
        book.active.append(row)
    book.save(path)
    return path


def rewrite(
    path: Path,
    changes: Mapping[str, Change] | None = None,
    *,
    drop: str = "",
    rename: Callable[[str], str] = str,
    add: Mapping[str, bytes] | None = None,
) -> Path:
    """Rewrite the parts of an archive."""
    old = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            if part.filename != drop:
                content = old.read(part)
                change = (changes or {}).get(part.filename)
                new.writestr(rename(part.filename), change(content) if change else content)
        for name, content in (add or {}).items():
            new.writestr(name, content)
    return path


def with_relationship(path: Path, part: str, kind: str, target: str, name: str = "rId99") -> Path:
    """Add a relationship to a part."""
    relationship = f'<Relationship Id="{name}" Type="{_RELATIONSHIPS}/{kind}" Target="{target}"/></Relationships>'
    return rewrite(path, {part: lambda xml: xml.replace(b"</Relationships>", relationship.encode())})


def with_main_part(path: Path, old: str, new: str) -> Path:
    """Rename the main part, with its relationships."""
    folder, name = old.rsplit("/", 1)
    names = {old: new, f"{folder}/_rels/{name}.rels": f"{folder}/_rels/{new.rsplit('/', 1)[1]}.rels"}

    def renamed(xml: bytes) -> bytes:
        return xml.replace(old.encode(), new.encode())

    changes = {"[Content_Types].xml": renamed, "_rels/.rels": renamed}
    return rewrite(path, changes, rename=lambda part: names.get(part, part))


def strict(path: Path) -> Path:
    """Turn a file into Strict Open XML, which has other namespaces."""
    parts = zipfile.ZipFile(path).namelist()

    def translated(xml: bytes) -> bytes:
        for usual, other in _STRICT.items():
            xml = xml.replace(usual, other)
        return xml

    return rewrite(path, dict.fromkeys(set(parts) - {"[Content_Types].xml"}, translated))


def backslashes(path: Path) -> Path:
    """Write the names of the parts with backslashes, as some programs do."""
    content = path.read_bytes()
    for name in (b"word/document.xml", b"word/_rels/document.xml.rels"):
        content = content.replace(name, name.replace(b"/", b"\\"))
    path.write_bytes(content)
    return path
