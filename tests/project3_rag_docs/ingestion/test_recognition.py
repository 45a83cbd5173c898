"""Text in pages that are images: read by a process of its own, bounded, and marked."""

import asyncio
import contextlib
import os
from contextlib import aclosing
from pathlib import Path

import httpx2
import psutil
import pypdfium2
import pytest

from project3_rag_docs.ingestion import recognition
from project3_rag_docs.ingestion.recognition import RecognitionLimits, recognise
from project3_rag_docs.ingestion.recognition_process import lines_of
from project3_rag_docs.settings import Settings
from tests.project3_rag_docs.conftest import Serve
from tests.support import pdf_files
from tests.support.documents import finished, found, upload
from tests.support.until import until


def scanned(path: Path, lines: list[str]) -> Path:
    """Write a PDF whose page is a picture of a page with these lines."""
    placed = [(40, 700 - 60 * number, line) for number, line in enumerate(lines)]
    drawn = pdf_files.write(path.with_suffix(".drawn"), [pdf_files.texts(placed, 30)])
    with pypdfium2.PdfDocument(drawn) as pdf, pypdfium2.PdfDocument.new() as scan:
        page = scan.new_page(595, 842)
        picture = pypdfium2.PdfImage.new(scan)
        picture.set_bitmap(pdf[0].render(scale=1.5))
        picture.set_matrix(pypdfium2.PdfMatrix().scale(595, 842))
        page.insert_obj(picture)
        page.gen_content()
        scan.save(str(path))
    return path


def box(left: float, top: float, width: float, slope: float = 0.0) -> list[list[float]]:
    """Return the corners of a line of text that is 20 pixels high, on a page with a slope."""
    corners = ((left, top), (left + width, top), (left + width, top + 20), (left, top + 20))
    return [[x, y + slope * x] for x, y in corners]


class TestLines:
    @pytest.mark.parametrize("slope", [0.0, 0.02, -0.02])
    def test_boxes_form_lines_on_a_sloping_page(self, slope: float) -> None:
        boxes = [
            (box(700, 100, 200, slope), "right"),
            (box(10, 100, 300, slope), "left"),
            (box(10, 130, 400, slope), "below"),
        ]
        assert [line.text for line in lines_of(boxes)] == ["left right", "below"]

    def test_page_without_text_has_no_lines(self) -> None:
        assert lines_of([]) == []


@pytest.mark.slow
class TestProcess:
    async def test_scanned_document_is_found_and_marked(self, serve3: Serve, tmp_path: Path) -> None:
        content = scanned(tmp_path / "a.pdf", ["The heron nests", "by the river"]).read_bytes()

        with serve3(ocr_enabled=True) as url:
            async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
                document = await finished(client, await upload(client, content, "scan.pdf"))
                (hit,) = await found(client, "heron")

        assert (document["status"], document["error"]) == ("ready", None)
        assert document["notice"] == "1 of 1 pages were read by OCR: 1."
        assert (hit["recognised"], hit["page"]) == (True, 1)
        assert hit["text"] == "The heron nests\nby the river"

    async def test_process_ends_with_its_reader(self, tmp_path: Path) -> None:
        path = scanned(tmp_path / "a.pdf", ["Text"])
        pages = recognise(path, [1], RecognitionLimits())
        async with aclosing(pages):
            reading = asyncio.ensure_future(anext(pages))
            await until(lambda: bool(processes()))
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        assert processes() == []

    @pytest.mark.parametrize(
        "limits",
        [RecognitionLimits(memory_bytes=64 * 2**20), RecognitionLimits(seconds=-59.99), RecognitionLimits(pages=0)],
    )
    async def test_limits_end_the_process(self, tmp_path: Path, limits: RecognitionLimits) -> None:
        async with aclosing(recognise(scanned(tmp_path / "a.pdf", ["Text"]), [1], limits)) as pages:
            assert [page async for page in pages] == []
        assert processes() == []


def processes() -> list[psutil.Process]:
    children = psutil.Process(os.getpid()).children(recursive=True)
    found = []
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):  # another one's child, which has ended
            found += [child] if child.is_running() and "recognition_process" in " ".join(child.cmdline()) else []
    return found


def test_default_depends_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_construct(ocr_enabled=None)
    monkeypatch.setattr(recognition, "is_installed", lambda: True)
    for pages, expected in ((2**20, True), (2**18, False)):
        monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": pages}.__getitem__)
        assert settings.recognises_text() is expected
    assert Settings.model_construct(ocr_enabled=True).recognises_text()
    monkeypatch.setattr(recognition, "is_installed", lambda: False)
    assert not settings.recognises_text()
