"""Noise in documents: neither indexed nor quoted."""

from time import process_time

import httpx2
import pytest
from langchain_core.documents import Document

from project3_rag_docs.ingestion.chunking import split_sections
from project3_rag_docs.ingestion.noise import remove_noise
from tests.support.documents import finished as finished_document
from tests.support.documents import found, ready, upload


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("[![Build](https://img.shields.io/a.svg?x=1)](https://ci.example/a) Fast.", "Fast."),
        ("![PyPI](https://badge.fury.io/py/a.svg)\n![cov](https://codecov.io/gh/a)\nFast.", "Fast."),
        ("[ci]: https://github.example/a/workflows/ci/badge.svg\nFast.", "Fast."),
        ("![the plan](plan.png)", "the plan"),
        ("Logo: ![](data:image/png;base64,iVBORw0KGgoAAAANSUhEUg+/=) here", "Logo: here"),
        ("a { background: url(data:image/svg+xml;charset=utf8,%3Csvg%3E) }", "a { background: url() }"),
        ("</a>Rates rise.</a>", "Rates rise."),
        ('<p align="center"><img src="a.png"><br/>Rates rise.</p>', "Rates rise."),
        ("<!-- not\nshown -->Rates rise.", "Rates rise."),
        ("Rates\uffff rise.\ufffe\U0001ffff", "Rates rise."),
        ("\uf0b7 Rates\x07 rise.", "Rates rise."),
        ("Rates\ufffd\ufffd rise.", "Rates rise."),
        ("Introduction .................... 5", "Introduction 5"),
        ("Introduction . . . . . . . . . 5\n…………………\nEnd", "Introduction 5 End"),
        ("Name: ____________\n========\n* * * * *\n第一章 ······ 三", "Name: 第一章 三"),
        ("Home | About | Contact\nRates rise.", "Rates rise."),
        ("* [Home](/)\n* [About us](/about)\n* [Log in](/login)\n\nRates rise.", "Rates rise."),
        ("首页 | 关于我们 | 产品中心 | 联系我们\n利率上升。", "利率上升。"),
        ("- [Install](#install)\n- [Use it](#use-it)\nRates rise.", "Rates rise."),
    ],
)
def test_noise_is_removed(text: str, left: str) -> None:
    assert " ".join(remove_noise(text).split()) == left


@pytest.mark.parametrize(
    "text",
    [
        "Use `<br>` or `![a](b)`, List<String> if a < b > c... He said so—twice. 等等……好——吧。",
        "```html\n<a href='x'>....</a>\n# ======\n```\nText.",
        "Name | City | Country\nAda | London | UK",
        "| a | b |\n|-----|:----|\n| 1 | 2 |",
        "Home\n\nIt was a long way to the village, and about noon they rested.",
        "See https://example.com/manual and [the manual](https://example.com/m). Price: 3.50, 2020-01-02.",
        "Install\nConfigure\nDeploy",
        "ไทย ภาษา",
    ],
)
def test_content_is_kept(text: str) -> None:
    assert remove_noise(text) == text


def test_chunks_without_words_are_left_out() -> None:
    sections = [Document("....... \uffff\n-- | --", metadata={"page": 1}), Document("Word.", metadata={"page": 2})]
    heading = Document(
        "Text.", metadata={"heading": "Top [![b](https://img.shields.io/b.svg)](https://b.example) <br>"}
    )

    assert [(chunk.text, chunk.page) for chunk in split_sections(sections)] == [("Word.", 2)]
    assert [chunk.heading for chunk in split_sections([heading])] == ["Top"]


@pytest.mark.parametrize("text", ["<a ", "<!--", "[![", "data:image/", "Home\n", ". ", "`a", "|", "[a]: https:"])
def test_time_is_linear(text: str) -> None:
    started = process_time()

    remove_noise(text * (100_000 // len(text)))

    assert process_time() - started < 2  # the slowest takes 0.2


async def test_noise_is_not_found(client3: httpx2.AsyncClient) -> None:
    noise = "[![Build](https://img.shields.io/a.svg)](/)\n\n.........\n\n\uffff\n\nHome | About | Contact\n"
    await ready(client3, f"{noise}\nThe heron nests by the river.\n", "heron.md")

    (hit,) = await found(client3, "build contact heron")
    assert hit["text"] == "The heron nests by the river."
    assert (await finished_document(client3, await upload(client3, noise, "noise.md")))["status"] == "failed"
