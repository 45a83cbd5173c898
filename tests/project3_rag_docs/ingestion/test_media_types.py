"""The media type of an upload: by its content first, by its name if the content is plain text."""

import io
import zipfile
from pathlib import Path

import pytest

from project3_rag_docs.ingestion.parsing.media_types import MediaType, decide_media_type
from shared.errors import UnsupportedMediaType
from tests.support import files

ROOT = Path(__file__).parents[3]
SAMPLES = {
    "handbook.md": MediaType.MARKDOWN,
    "refund-policy.pdf": MediaType.PDF,
    "员工手册.docx": MediaType.DOCX,
    "产品说明.txt": MediaType.TEXT,
    "prices.csv": MediaType.CSV,
    "release-notes.html": MediaType.HTML,
}
SUPPORTED = "Supported formats: pdf, docx, pptx, xlsx, odt, rtf, epub, eml, csv, html, md, txt."
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00" + bytes(range(256))


def decide(filename: str, content: bytes) -> MediaType:
    return decide_media_type(filename, content[:65536], content[-65536:], io.BytesIO(content))


def refusal(filename: str, content: bytes) -> str:
    with pytest.raises(UnsupportedMediaType) as refused:
        decide(filename, content)
    return refused.value.detail


@pytest.mark.parametrize(("name", "expected"), SAMPLES.items())
def test_samples_have_their_media_types(name: str, expected: MediaType) -> None:
    assert decide(name, (ROOT / "examples" / "documents" / name).read_bytes()) is expected


@pytest.mark.parametrize("name", ["letter.txt", "letter", "letter.exe", "LETTER.DOCX"])
def test_pdf_is_detected_regardless_of_its_name(tmp_path: Path, name: str) -> None:
    content = files.pdf(tmp_path / "a.pdf", ["Text"]).read_bytes()

    assert decide(name, content) is MediaType.PDF
    assert decide("a.pdf", b"\x00rubbish of a mail program\r\n" + content) is MediaType.PDF


def test_text_about_pdf_is_not_a_pdf() -> None:
    assert decide("about.md", b"# PDF\n\nA file begins with %PDF-1.7, and ends with %%EOF.\n") is MediaType.MARKDOWN


def test_office_files_are_distinguished_by_content(tmp_path: Path) -> None:
    word = files.word(tmp_path / "a", [("", "Text")]).read_bytes()
    slides = files.slides(tmp_path / "b", [("Title", "Text", "")]).read_bytes()
    workbook = files.workbook(tmp_path / "c", {"Sheet": [["a"]]}).read_bytes()

    assert [decide("x.bin", content) for content in (word, slides, workbook)] == [
        MediaType.DOCX,
        MediaType.PPTX,
        MediaType.XLSX,
    ]


def test_zip_bomb_is_detected_without_unpacking(tmp_path: Path) -> None:
    assert decide("a.docx", files.many_parts(tmp_path / "a.docx", 2000).read_bytes()) is MediaType.DOCX


@pytest.mark.parametrize("size", [0xFFFFFF00, 200], ids=["beyond the file", "short"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damaged_archive_is_rejected(method: int, size: int) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as parts:
        parts.writestr("[Content_Types].xml", bytes(range(256)) * 8)
    content = bytearray(archive.getvalue())
    data = 30 + len("[Content_Types].xml")
    content[data + 2 : data + 40] = b"\xff" * 38
    directory = content.index(b"PK\x01\x02")
    content[directory + 20 : directory + 28] = size.to_bytes(4, "little") * 2  # compressed and not

    assert "not a docx, pptx, xlsx, odt or epub" in refusal("a.docx", bytes(content))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", MediaType.CSV),
        ("A.HTM", MediaType.HTML),
        ("a.markdown", MediaType.MARKDOWN),
        ("a.text", MediaType.TEXT),
        ("README", MediaType.TEXT),
        ("C:\\some.folder\\notes", MediaType.TEXT),
    ],
)
def test_text_type_follows_the_file_name(name: str, expected: MediaType) -> None:
    assert decide(name, "Größe, 大小\r\n\t1\x1b[0m\n".encode()) is expected


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "gb18030", "shift_jis", "latin-1"])
def test_text_is_detected_in_any_encoding(encoding: str) -> None:
    text = "Caf\u00e9 \u00e0 volont\u00e9" if encoding == "latin-1" else "保証 no 期間"
    assert decide("a.txt", text.encode(encoding)) is MediaType.TEXT


def test_empty_file_type_follows_its_name() -> None:
    assert decide("a.pdf", b"") is MediaType.PDF
    assert decide("a.md", b"") is MediaType.MARKDOWN


def test_binary_content_is_rejected() -> None:
    reason = f"The file is named like a text file, but its content is not text. {SUPPORTED}"
    assert refusal("a.txt", PNG) == reason
    assert refusal("a.csv", b"some text\0and more") == reason
    assert refusal("a.md", bytes(range(1, 9)) * 20 + b"text" * 100) == reason


def test_misnamed_files_are_rejected() -> None:
    assert refusal("a.pdf", b"Only text.") == "The file is named .pdf, but its content has another format."
    assert refusal("a.docx", PNG) == "The file is named .docx, but its content has another format."


def test_unsupported_types_are_rejected() -> None:
    assert refusal("a.exe", b"MZ\x90\0") == f"Files with the suffix .exe are not supported. {SUPPORTED}"
    assert refusal("a.odp", b"{Text}") == f"Files with the suffix .odp are not supported. {SUPPORTED}"
    assert refusal("a.rtf", b"Text") == "The file is named .rtf, but its content has another format."
    assert refusal("a.png", PNG) == f"Files with the suffix .png are not supported. {SUPPORTED}"
    assert refusal("a.docx", b"PK\x03\x04 word/other.xml") == (
        "The file is a ZIP archive, but not a docx, pptx, xlsx, odt or epub. "
        f"`POST /documents/archive` takes the files in it. {SUPPORTED}"
    )


def test_legacy_office_files_are_rejected_with_advice(tmp_path: Path) -> None:
    old = files.old_office(tmp_path / "a", encrypted=False).read_bytes()

    assert refusal("a.doc", old) == (
        "The file has the Office format of before 2007 (doc, ppt, xls). Save it as docx, pptx or xlsx."
    )


def test_encrypted_office_files_are_rejected_with_advice(tmp_path: Path) -> None:
    encrypted = files.old_office(tmp_path / "a", encrypted=True).read_bytes()
    reason = "The Office file is protected by a password. Save it without one."

    assert refusal("a", encrypted) == reason
    assert refusal("a.xlsx", files.old_office(tmp_path / "b", encrypted=False).read_bytes()) == reason
