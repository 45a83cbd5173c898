"""Labels of encodings, as browsers read them: pages name a narrower encoding than the one they are in."""

from pathlib import Path

import pytest

from project3_rag_docs.ingestion.parsing.loaders import loader_for
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from tests.support.encodings import COMMON, PAGES, page


def html_text(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return "".join(document.page_content for document in loader_for(MediaType.HTML, path).lazy_load())


@pytest.mark.parametrize(("label", "text", "codec"), PAGES.values(), ids=PAGES)
def test_page_is_read_as_in_a_browser(tmp_path: Path, label: str, text: str, codec: str) -> None:
    assert html_text(tmp_path / "a", page(label, text, codec)) == text


def test_euro_sign_of_windows_936_is_read(tmp_path: Path) -> None:
    content = page("gbk", COMMON, "gbk").replace(b"</p>", b"\x805</p>")
    assert html_text(tmp_path / "a", content) == f"{COMMON}€5"


def test_xml_declaration_names_the_encoding(tmp_path: Path) -> None:
    content = '<?xml version="1.0" encoding="gb2312"?><html><body><p>朱镕基</p></body></html>'.encode("gbk")
    assert html_text(tmp_path / "a", content) == "朱镕基"
