"""Decoding of fetched pages whose declared encoding is narrower than the actual one."""

import pytest

from project4_agent_api.agents.web.reading import page_text
from tests.support.encodings import COMMON, PAGES, page


@pytest.mark.parametrize(("label", "text", "codec"), PAGES.values(), ids=PAGES)
def test_page_is_read_as_in_a_browser(label: str, text: str, codec: str) -> None:
    assert page_text(page(label, text, codec), "text/html", None) == text


def test_label_of_the_server_has_the_same_meaning() -> None:
    assert page_text("朱镕基".encode("gbk"), "text/plain", "GB2312") == "朱镕基"
    assert page_text("“yes”".encode("cp1252"), "text/plain", "latin1") == "“yes”"


def test_euro_sign_of_windows_936_is_read() -> None:
    content = page("gbk", COMMON, "gbk").replace(b"</p>", b"\x805</p>")
    assert page_text(content, "text/html", None) == f"{COMMON}€5"
