"""Pictures of the pages of PDFs, with a passage marked."""

import math
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from pypdf import PdfReader, PdfWriter

from project3_rag_docs.ingestion.parsing import ParseLimits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.drawing import draw_page, passage_spans
from tests.support import files, pdf_files
from tests.support.documents import ready, upload

MARKER = bytes((255, 226, 84))
HERON, OTTER = "The heron nests in the oak by the lake.", "The otter sleeps in the holt by the river."


@pytest.fixture
async def client(shared_url3: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of stage 3."""
    async with httpx2.AsyncClient(base_url=shared_url3, timeout=120, trust_env=False) as http:
        yield http


def size_of(png: bytes) -> tuple[int, int]:
    """Return the width and the height of a PNG."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def pixels(png: bytes) -> list[list[bytes]]:
    """Decode a PNG of unfiltered rows of three bytes per pixel."""
    width, height = size_of(png)
    size = struct.unpack(">I", png[33:37])[0]
    data = zlib.decompress(png[41 : 41 + size])
    rows = [data[at + 1 : at + 1 + 3 * width] for at in range(0, len(data), 3 * width + 1)]
    assert len(rows) == height
    return [[row[at : at + 3] for at in range(0, len(row), 3)] for row in rows]


def marked_box(png: bytes) -> tuple[float, float, float, float] | None:
    """Return left, top, right and bottom of the marks, as shares of the picture."""
    rows = pixels(png)
    ys = [y for y, row in enumerate(rows) if MARKER in row]
    xs = [x for row in rows for x, pixel in enumerate(row) if pixel == MARKER]
    across, down = len(rows[0]), len(rows)
    return (min(xs) / across, min(ys) / down, max(xs) / across, max(ys) / down) if xs else None


def lines(*texts: str) -> str:
    return pdf_files.texts([(50, 700 - 20 * at, text) for at, text in enumerate(texts)], size=12)


async def chunks(client: httpx2.AsyncClient, document: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await client.get(f"/documents/{document['id']}/chunks")).json()["items"]
    return items


def rotated(path: Path, degrees: int) -> Path:
    writer = PdfWriter(clone_from=PdfReader(path))
    writer.pages[0].rotate(degrees)
    writer.write(path)
    return path


async def test_passage_is_marked_on_its_page(client: httpx2.AsyncClient, tmp_path: Path) -> None:
    path = pdf_files.write(tmp_path / "a.pdf", [lines(HERON), lines(OTTER)])
    document = await ready(client, path.read_bytes(), "animals.pdf")
    heron, otter = await chunks(client, document)
    pages = f"/documents/{document['id']}/pages"

    marked = await client.get(f"{pages}/1.png", params={"chunk_id": heron["id"], "width": 600})
    plain = await client.get(f"{pages}/1.png", params={"width": 600})
    other = await client.get(f"{pages}/1.png", params={"chunk_id": otter["id"], "width": 600})

    assert (marked.status_code, marked.headers["content-type"]) == (200, "image/png")
    assert marked.headers["x-content-type-options"] == "nosniff"
    box = marked_box(marked.content)
    assert box is not None
    left, top, right, bottom = box
    assert left == pytest.approx(50 / 595, abs=0.01)
    assert right < 0.5
    assert (842 - 716) / 842 < top < bottom < (842 - 695) / 842
    assert min(max(pixel) for row in pixels(marked.content) for pixel in row) < 32  # the text is not covered
    assert marked_box(plain.content) is None
    assert other.content == plain.content  # the passage is on another page


async def test_part_of_a_passage_is_marked(client: httpx2.AsyncClient, tmp_path: Path) -> None:
    path = pdf_files.write(tmp_path / "a.pdf", [lines(HERON, "There is nothing else to see.", OTTER)])
    document = await ready(client, path.read_bytes(), "part.pdf")
    (chunk,) = await chunks(client, document)
    start = chunk["text"].index(OTTER)
    page = f"/documents/{document['id']}/pages/1.png"

    whole = {"chunk_id": chunk["id"], "width": 300}
    part = await client.get(page, params=whole | {"start": start, "end": start + len(OTTER)})
    all_of_it = await client.get(page, params=whole)

    part_box, whole_box = marked_box(part.content), marked_box(all_of_it.content)
    assert part_box is not None
    assert whole_box is not None
    assert part_box[1] > whole_box[1] + 0.03
    assert part_box[3] == whole_box[3]


async def test_passage_across_two_pages_is_marked_on_both(client: httpx2.AsyncClient, tmp_path: Path) -> None:
    path = pdf_files.write(tmp_path / "a.pdf", [lines("The heron nests in the"), lines("oak by the lake since May.")])
    document = await ready(client, path.read_bytes(), "across.pdf")
    found = await chunks(client, document)

    pictures = [
        await client.get(
            f"/documents/{document['id']}/pages/{chunk['page']}.png", params={"chunk_id": chunk["id"], "width": 300}
        )
        for chunk in found
    ]

    assert [chunk["page"] for chunk in found] == [1, 2]
    assert all(marked_box(picture.content) for picture in pictures)


@pytest.mark.parametrize("degrees", [90, 180, 270])
async def test_passage_is_marked_on_a_rotated_page(tmp_path: Path, degrees: int) -> None:
    path = rotated(pdf_files.write(tmp_path / "a.pdf", [lines(HERON)]), degrees)

    await draw_page(path, 1, HERON, 600, ParseLimits(), into := tmp_path / "a.png")

    box = marked_box(into.read_bytes())
    assert box is not None
    left, top, right, bottom = box
    is_line_upright = (bottom - top) * 842 > (right - left) * 595
    assert is_line_upright is (degrees != 180)
    # The line is near the top of the page, and its start near the left edge.
    edge = {90: 1 - right, 180: 1 - bottom, 270: left}[degrees]
    assert edge == pytest.approx((842 - 711) / 842, abs=0.02)


async def test_line_of_single_letters_has_one_mark(tmp_path: Path) -> None:
    letters = [(50 + 8 * at, 700, letter) for at, letter in enumerate("mmmnnnmmmnnnmmmnnn")]
    path = pdf_files.write(tmp_path / "a.pdf", [pdf_files.texts(letters, size=12)])

    await draw_page(path, 1, "mmmnnnmmmnnnmmmnnn", 600, ParseLimits(), into := tmp_path / "a.png")

    columns = list(zip(*pixels(into.read_bytes()), strict=True))
    marked = [at for at, column in enumerate(columns) if MARKER in column]
    assert len(marked) == marked[-1] - marked[0] + 1 > 100


async def test_current_picture_is_not_drawn_again(client: httpx2.AsyncClient, tmp_path: Path) -> None:
    document = await ready(client, files.pdf(tmp_path / "a.pdf", ["Cached."]).read_bytes(), "cached.pdf")
    page = f"/documents/{document['id']}/pages/1.png"
    first = await client.get(page)

    again = await client.get(page, headers={"If-None-Match": first.headers["etag"]})
    wider = await client.get(page, params={"width": 300}, headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["cache-control"] == "private, no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert wider.status_code == 200
    assert len(pixels(wider.content)[0]) == 300


async def test_missing_page_is_rejected(client: httpx2.AsyncClient, tmp_path: Path) -> None:
    document = await ready(client, files.pdf(tmp_path / "a.pdf", ["Only this."]).read_bytes(), "one.pdf")
    text = await ready(client, "No pages here.", "plain.txt")
    pages = f"/documents/{document['id']}/pages"

    beyond = await client.get(f"{pages}/2.png")
    zero = await client.get(f"{pages}/0.png")
    no_pdf = await client.get(f"/documents/{text['id']}/pages/1.png")
    no_chunk = await client.get(f"{pages}/1.png", params={"chunk_id": str(uuid4())})

    assert (beyond.status_code, beyond.json()["detail"]) == (404, "The document has 1 pages.")
    assert zero.status_code == 422
    assert (no_pdf.status_code, no_pdf.json()["detail"]) == (404, "Only the pages of PDFs are drawn.")
    assert (no_chunk.status_code, no_chunk.json()["detail"]) == (404, "The document has no chunk with this id.")


async def test_pages_of_an_encrypted_pdf_are_not_drawn(client: httpx2.AsyncClient, tmp_path: Path) -> None:
    path = files.pdf(tmp_path / "a.pdf", ["Secret."], password="x")
    document = await upload(client, path.read_bytes(), "secret.pdf")

    refused = await client.get(f"/documents/{document['id']}/pages/1.png")

    assert refused.status_code == 422
    assert refused.json()["detail"] == "The PDF is protected by a password. Save it without one."


async def test_very_high_page_becomes_a_smaller_picture(tmp_path: Path) -> None:
    writer = PdfWriter()
    writer.add_blank_page(10, 14_400)
    writer.write(path := tmp_path / "a.pdf")

    await draw_page(path, 1, "", 2400, ParseLimits(), into := tmp_path / "a.png")

    assert math.prod(size_of(into.read_bytes())) <= 6_100_000


async def test_page_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    path = pdf_files.write(tmp_path / "a.pdf", ["0 0 500 500 re f " * 2_000_000])

    with pytest.raises(UnreadableDocument, match="takes too long"):
        await draw_page(path, 1, "", 2400, ParseLimits(seconds=0.3), tmp_path / "a.png")


@pytest.mark.parametrize(
    ("text", "passage", "expected"),
    [
        ("A title\r\nThe heron nests\r\nin the oak.", "The heron nests in the oak.", ["The heron nests\r\nin the oak"]),
        ("苍鹭在湖边的橡树上筑\r\n巢。水獭睡在洞里。", "苍鹭在湖边的橡树上筑巢。", ["苍鹭在湖边的橡树上筑\r\n巢。"]),
        ("pro\ufffe\r\nposal of a long day, and more", "proposal of a long day", ["of a long day"]),
        ("one two three. 7 of 9 one. four five six seven", "one two three. four five six seven", None),
        ("nothing of the kind", "the heron nests", []),
        ("", "the heron nests", []),
        ("heron", "heron", ["heron"]),
    ],
)
def test_passage_is_found_on_a_page(text: str, passage: str, expected: list[str] | None) -> None:
    found = [text[start:end] for start, end in passage_spans(text, passage)]

    assert found == (expected if expected is not None else ["one two three", "four five six seven"])
