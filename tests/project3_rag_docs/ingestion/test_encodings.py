"""Labels of encodings, as browsers read them: pages name a narrower encoding than the one they are in."""

from pathlib import Path

import pytest

from project3_rag_docs.ingestion.parsing.loaders import loader_for
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from project4_agent_api.agents.web.reading import page_text

COMMON = "星云咖啡机的保修期为两年请联系客服中心办理退货手续"
PAGES = {
    "GBK as gb2312": ("gb2312", COMMON * 50 + "朱镕基、陶喆、張堃", "gbk"),
    "GB 18030 as gb2312": ("gb2312", COMMON + "𠮷䶮", "gb18030"),
    "GB 18030 as x-gbk": ("x-gbk", COMMON + "𠮷䶮", "gb18030"),
    "Windows-1252 as Latin-1": ("iso-8859-1", "He said “yes” – 5 € in the café", "cp1252"),
    "Windows-1252 as ASCII": ("us-ascii", "He said “yes” – 5 € in the café", "cp1252"),
    "Windows-1254 as Latin-5": ("iso-8859-9", "Türkçe “evet” – 5 € şirket", "cp1254"),
    "Windows-31J as Shift JIS": ("x-sjis", "①番目～保証期間は二年です。髙﨑", "cp932"),
    "NEC characters in EUC-JP": ("euc-jp", "①番目の保証期間は二年です", "euc_jis_2004"),
    "Windows-949 as EUC-KR": ("ks_c_5601-1987", "보증 기간은 이 년입니다. 똠방각하", "cp949"),
    "HKSCS as Big5": ("big5", "保固期為兩年，請聯絡客服，嘅啲", "big5hkscs"),
    "ISO-2022-JP": ("iso-2022-jp", "保証期間は二年です", "iso2022_jp"),
    "Windows-874 as TIS-620": ("tis-620", "การรับประกันสองปี", "cp874"),
}


def page(label: str, text: str, codec: str) -> bytes:
    return f'<html><head><meta charset="{label}"></head><body><p>'.encode() + text.encode(codec) + b"</p></body></html>"


def html_text(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return "".join(document.page_content for document in loader_for(MediaType.HTML, path).lazy_load())


@pytest.mark.parametrize(("label", "text", "codec"), PAGES.values(), ids=PAGES)
def test_page_is_read_as_in_a_browser(tmp_path: Path, label: str, text: str, codec: str) -> None:
    content = page(label, text, codec)
    assert html_text(tmp_path / "a", content) == text
    assert page_text(content, "text/html", None) == text


def test_label_of_the_server_has_the_same_meaning() -> None:
    assert page_text("朱镕基".encode("gbk"), "text/plain", "GB2312") == "朱镕基"
    assert page_text("“yes”".encode("cp1252"), "text/plain", "latin1") == "“yes”"


def test_euro_sign_of_windows_936_is_read(tmp_path: Path) -> None:
    content = page("gbk", COMMON, "gbk").replace(b"</p>", b"\x805</p>")
    assert html_text(tmp_path / "a", content) == f"{COMMON}€5"
    assert page_text(content, "text/html", None) == f"{COMMON}€5"


def test_xml_declaration_names_the_encoding(tmp_path: Path) -> None:
    content = '<?xml version="1.0" encoding="gb2312"?><html><body><p>朱镕基</p></body></html>'.encode("gbk")
    assert html_text(tmp_path / "a", content) == "朱镕基"
