"""Text extracted from every format, with its page and heading; and the errors of broken files."""

import zipfile
from datetime import date, datetime, time
from pathlib import Path

import pytest
from langchain_core.documents import Document

from project3_rag_docs.ingestion.parsing import ParseLimits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.loaders import loader_for
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from tests.support import files

SAMPLES = Path(__file__).parents[3] / "examples" / "documents"


def load(media_type: MediaType, path: Path, limits: ParseLimits | None = None) -> list[Document]:
    documents = list(loader_for(media_type, path, limits).lazy_load())
    for document in documents:
        assert document.metadata.keys() == {"page", "heading", "recognised", "table"}
        assert document.page_content.strip()
        assert len(document.page_content) <= 1_000_000
    return documents


def found(media_type: MediaType, path: Path) -> list[tuple[int | None, str | None, str]]:
    return [
        (document.metadata["page"], document.metadata["heading"], document.page_content)
        for document in load(media_type, path)
    ]


def found_in(media_type: MediaType, path: Path, content: str | bytes) -> list[tuple[str | None, str]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [(heading, text) for _, heading, text in found(media_type, path)]


def reason(media_type: MediaType, path: Path, limits: ParseLimits | None = None) -> str:
    with pytest.raises(UnreadableDocument) as refused:
        load(media_type, path, limits)
    return refused.value.reason


class TestPdf:
    def test_page_is_a_section_under_its_outline_title(self, tmp_path: Path) -> None:
        path = files.pdf(tmp_path / "a", ["One", "Two", "Three", ""], outline=[("First", 1), ("Same page", 1)])

        assert found(MediaType.PDF, path) == [(1, None, "One"), (2, "First", "Two"), (3, "First", "Three")]

    def test_pdf_sample_is_loaded(self) -> None:
        pages = load(MediaType.PDF, SAMPLES / "refund-policy.pdf")

        assert [(page.metadata["page"], page.metadata["heading"]) for page in pages] == [
            (1, "Sending something back"),
            (2, "Getting the money back"),
            (3, "Articles with faults"),
        ]
        assert "within 45 days of delivery" in pages[0].page_content

    def test_encrypted_pdf_is_rejected(self, tmp_path: Path) -> None:
        path = files.pdf(tmp_path / "a", ["Secret"], password="open sesame")
        assert reason(MediaType.PDF, path) == "The PDF is protected by a password. Save it without one."

    def test_scanned_pdf_is_rejected(self, tmp_path: Path) -> None:
        path = files.image_pdf(tmp_path / "a")
        assert reason(MediaType.PDF, path) == "The PDF has no text in it; it may be scanned images."

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_truncated_pdf_is_rejected(self, tmp_path: Path, share: float) -> None:
        path = tmp_path / "a"
        path.write_bytes((SAMPLES / "refund-policy.pdf").read_bytes())
        assert reason(MediaType.PDF, files.truncated(path, share)) == (
            "The PDF cannot be read; it is damaged or incomplete."
        )

    def test_pdf_with_too_many_pages_is_rejected(self, tmp_path: Path) -> None:
        path = files.pdf(tmp_path / "a", ["Text"] * 3)

        assert len(load(MediaType.PDF, path, ParseLimits(pages=3))) == 3
        assert reason(MediaType.PDF, path, ParseLimits(pages=2)) == "The PDF has more than 2 pages."


class TestDocx:
    def test_headings_and_tables_keep_their_order(self, tmp_path: Path) -> None:
        path = files.word(
            tmp_path / "a",
            [
                ("", "Before."),
                ("Title", "Guide"),
                ("Heading 1", "Install"),
                ("", "Download it."),
                [["system", "command"], ["Linux", "make"]],
                ("List Bullet", "Start it."),
                ("Heading 3", "Deep"),
                ("", "Details."),
                ("Heading 2", "Less deep"),
                ("Heading 1", "Use"),
                ("", "It works."),
            ],
        )

        assert found(MediaType.DOCX, path) == [
            (None, None, "Before."),
            (None, "Guide > Install", "Download it."),
            (None, "Guide > Install", "system | command\nLinux | make"),
            (None, "Guide > Install", "Start it."),
            (None, "Guide > Install > Deep", "Details."),
            (None, "Guide > Install > Less deep", "Less deep"),
            (None, "Guide > Use", "It works."),
        ]

    def test_docx_sample_is_loaded(self) -> None:
        tables = [of for of in load(MediaType.DOCX, SAMPLES / "员工手册.docx") if of.metadata["table"]]
        sections = {section.metadata["heading"]: section for section in tables}

        assert (
            "工作年限: 三年至八年; 年假天数: 16 天; 可结转天数: 5 天"
            in sections["凯斯特林员工手册 > 假期"].page_content
        )

    def test_content_controls_and_tracked_changes_are_read(self, tmp_path: Path) -> None:
        run = "<w:r><w:t>{}</w:t></w:r>"
        body = (
            f"<w:sdt><w:sdtContent><w:p>{run.format('In a control')}</w:p></w:sdtContent></w:sdt>"
            f"<w:p><w:ins>{run.format('added')}</w:ins><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>"
            f"<w:r><w:tab/><w:t>tab</w:t><w:br/><w:t>break</w:t></w:r></w:p>"
        )
        path = files.word_with_xml(tmp_path / "a", [files.word_xml(body)])

        assert found(MediaType.DOCX, path) == [(None, None, "In a control\nadded\ttab\nbreak")]

    def test_truncated_docx_is_rejected(self, tmp_path: Path) -> None:
        path = files.truncated(files.word(tmp_path / "a", [("", "Text")]))
        assert reason(MediaType.DOCX, path) == "The Word document cannot be read; it is damaged or incomplete."

    def test_billion_laughs_is_rejected(self, tmp_path: Path) -> None:
        path = files.billion_laughs(tmp_path / "a")
        assert reason(MediaType.DOCX, path) == "The Word document cannot be read; it is damaged or incomplete."

    def test_docx_external_entities_are_not_read(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("the key of the house")

        path = files.external_entity(tmp_path / "a", secret, text="Seen.")

        assert found(MediaType.DOCX, path) == [(None, None, "Seen.")]

    def test_docx_too_large_when_unpacked_is_rejected(self, tmp_path: Path) -> None:
        path = files.zip_bomb(tmp_path / "a", 3 * 2**20)

        assert load(MediaType.DOCX, path)
        assert reason(MediaType.DOCX, path, ParseLimits(unpacked_bytes=2 * 2**20)) == (
            "The Word document is larger than 2 MiB when it is unpacked."
        )

    def test_docx_with_too_many_parts_is_rejected(self, tmp_path: Path) -> None:
        path = files.many_parts(tmp_path / "a", 10_000)
        assert reason(MediaType.DOCX, path) == "The Word document has more than 10,000 parts."

    def test_encrypted_archive_is_rejected(self, tmp_path: Path) -> None:
        path = files.word(tmp_path / "a", [("", "Text")])
        content = path.read_bytes()
        entry = content.rindex(b"PK\x01\x02")
        path.write_bytes(content[: entry + 8] + b"\x01" + content[entry + 9 :])

        assert reason(MediaType.DOCX, path) == ("The Word document is protected by a password. Save it without one.")


class TestPptx:
    def test_slides_are_read_with_notes(self, tmp_path: Path) -> None:
        path = files.slides(tmp_path / "a", [("Plan", "First\nSecond", "Speak slowly."), ("Only a title", "", "")])

        assert found(MediaType.PPTX, path) == [
            (1, "Plan", "First\nSecond\nSpeak slowly."),
            (2, "Only a title", "Only a title"),
        ]

    def test_tables_and_groups_are_read(self, tmp_path: Path) -> None:
        assert found(MediaType.PPTX, files.slide_with_table_and_group(tmp_path / "a")) == [
            (1, None, "a | b\nc | d\nIn a group"),
        ]

    def test_pptx_external_entities_are_not_read(self, tmp_path: Path) -> None:
        path = files.slides(tmp_path / "a", [("Plan", "SECRET", "")])
        poisoned(path, "ppt/slides/slide1.xml", tmp_path / "secret", "SECRET")

        assert found(MediaType.PPTX, path) == [(1, "Plan", "Plan")]


class TestXlsx:
    def test_rows_are_labelled_by_the_header(self, tmp_path: Path) -> None:
        rows: list[list[object]] = [
            ["Prices of 2026"],
            [],
            ["Model", "Price", "Since", None],
            ["Aria", 249.0, datetime.combine(date(2026, 3, 1), time()), "on sale"],
            ["Max", 0.1 + 0.2, date(2026, 4, 1), None],
            [None, None, datetime.combine(date(2026, 5, 1), time(12, 30)), True],
        ]
        path = files.workbook(tmp_path / "a", {"Prices": rows, "Empty": [], "One": [["only", "header"]]})

        assert found(MediaType.XLSX, path) == [
            (
                1,
                "Prices",
                """\
Prices of 2026
Model: Aria; Price: 249; Since: 2026-03-01; on sale
Model: Max; Price: 0.3; Since: 2026-04-01
Since: 2026-05-01 12:30; TRUE""",
            ),
            (3, "One", "only | header"),
        ]

    def test_long_sheets_are_split_into_sections(self, tmp_path: Path) -> None:
        path = files.workbook(tmp_path / "a", {"Long": [["a", "b"], *[[n, n] for n in range(450)]]})

        sections = load(MediaType.XLSX, path)

        assert [len(section.page_content.splitlines()) for section in sections] == [200, 200, 50]
        assert sections[2].page_content.startswith("a: 400; b: 400\n")

    def test_xlsx_external_entities_are_not_read(self, tmp_path: Path) -> None:
        path = files.workbook(tmp_path / "a", {"Sheet": [["SECRET", "seen"]]})
        poisoned(path, "xl/worksheets/sheet1.xml", tmp_path / "secret", "SECRET")

        assert found(MediaType.XLSX, path) == [(1, "Sheet", "seen")]


def poisoned(path: Path, part: str, secret: Path, placeholder: str) -> None:
    """Put an entity that stands for another file in the place of a word."""
    secret.write_text("the key of the house")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    xml = parts[part].decode()
    start = xml.index("?>") + 2 if xml.startswith("<?xml") else 0
    declaration = f'<!DOCTYPE x [<!ENTITY secret SYSTEM "{secret.as_uri()}">]>'
    assert placeholder in xml
    parts[part] = (xml[:start] + declaration + xml[start:].replace(placeholder, "&secret;")).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


class TestCsv:
    def test_csv_sample_is_loaded(self) -> None:
        ((_, _, text),) = found(MediaType.CSV, SAMPLES / "prices.csv")
        assert "Article: KF-012; Name: Filter K-12; Price (EUR): 39.50; Delivery (days): 1; Note: fits Aria;" in text

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_delimiter_is_detected(self, tmp_path: Path, delimiter: str) -> None:
        rows = [["name", "note"], ["Aria", '"white, soft; warm"'], ["Max", "x"]]
        content = "\r\n".join(delimiter.join(row) for row in rows)

        assert found_in(MediaType.CSV, tmp_path / "a", content) == [
            (None, "name: Aria; note: white, soft; warm\nname: Max; note: x")
        ]

    def test_ragged_rows_and_multiline_cells_are_read(self, tmp_path: Path) -> None:
        content = 'a,b\n1\n2,"two\nlines",3\n\n'
        assert found_in(MediaType.CSV, tmp_path / "a", content) == [(None, "a: 1\na: 2; b: two lines; 3")]

    def test_long_tables_are_split_into_sections(self, tmp_path: Path) -> None:
        sections = found_in(MediaType.CSV, tmp_path / "a", "a,b\n" + "1,2\n" * 401)
        assert [len(text.splitlines()) for _, text in sections] == [200, 200, 1]

    def test_unclosed_quotation_mark_is_a_character(self, tmp_path: Path) -> None:
        sections = found_in(MediaType.CSV, tmp_path / "a", 'a,b\n1,"never closed\n' + "2,3\n" * 50_000)
        assert sections[0][1].startswith('a: 1; b: "never closed\na: 2; b: 3\n')


class TestHtml:
    def test_visible_text_is_under_its_headings(self, tmp_path: Path) -> None:
        page = """<!doctype html><title>T</title><style>p { color: red }</style>
            <nav>Home</nav><p>Before.<h1>Guide<br>to  it</h1><p>Hello <b>bold</b> &amp; &lt;b&gt;<br>next
            line<script>var a = "<p>no</p>"</script><noscript>No.</noscript><div hidden>No.<p>No.</div>
            <div style="color: red; display: none">No.</div><!-- No. -->
            <table><tr><th> A <th>B<tr><td>1</td> <td>2</td></table>
            <h2>Sub</h2><ul><li>one<li>two</ul><pre>\n  code\n    indented\n</pre><h4>Leaf</h4><h2>End</h2>Last."""

        assert found_in(MediaType.HTML, tmp_path / "a", page) == [
            (None, "Before."),
            ("Guide to it", "Hello bold & <b>\nnext line"),
            ("Guide to it", "A: 1; B: 2"),
            ("Guide to it > Sub", "one\ntwo\n  code\n    indented"),
            ("Guide to it > Sub > Leaf", "Leaf"),
            ("Guide to it > End", "Last."),
        ]

    def test_html_sample_is_loaded(self) -> None:
        sections = found(MediaType.HTML, SAMPLES / "release-notes.html")

        assert [heading for _, heading, _ in sections][:3] == [
            "Aria firmware",
            "Aria firmware > Version 3.2 (12 May 2026)",
            "Aria firmware > Version 3.2 (12 May 2026) > Known problem",
        ]
        assert "Home" not in str(sections)

    def test_declared_encoding_is_used(self, tmp_path: Path) -> None:
        page = '<meta http-equiv="content-type" content="text/html; charset=ISO-8859-2"><p>Zażółć gęślą jaźń'
        assert found_in(MediaType.HTML, tmp_path / "a", page.encode("iso-8859-2")) == [(None, "Zażółć gęślą jaźń")]

    def test_encoding_declared_after_a_long_script_is_used(self, tmp_path: Path) -> None:
        page = f"<script>{'x' * 20_000}</script><meta charset=windows-1251><p>Договор аренды № 15"
        assert found_in(MediaType.HTML, tmp_path / "a", page.encode("cp1251")) == [(None, "Договор аренды № 15")]

    @pytest.mark.parametrize("name", ["zip", "no-such-encoding", "utf-16", "punycode"])
    def test_wrong_declared_encoding_is_ignored(self, tmp_path: Path, name: str) -> None:
        page = f'<meta charset="{name}"><p>Über Größe und Wärme'.encode("cp1252")
        assert found_in(MediaType.HTML, tmp_path / "a", page) == [(None, "Über Größe und Wärme")]

    def test_declared_entities_are_ignored(self, tmp_path: Path) -> None:
        page = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><p>Text &a; end'
        assert "root:" not in str(found_in(MediaType.HTML, tmp_path / "a", page))

    def test_deep_nesting_is_tolerated(self, tmp_path: Path) -> None:
        page = "<div>" * 100_000 + "deep" + "</div>" * 100_000
        assert found_in(MediaType.HTML, tmp_path / "a", page) == [(None, "deep")]


class TestMarkdown:
    def test_headings_in_code_are_not_headings(self, tmp_path: Path) -> None:
        text = """\
---
title: Guide
---
Before.

# Guide #

    # indented code

Install C#
==========
- one
---
```sh
# no heading
```
~~~~
~~~
## no heading either
~~~~
####### seven
#hash
Two lines
of text
-------
### C# ###
Text of *C#*.
## Leaf
"""
        code = text[text.index("- one") : text.index("\nTwo lines")]

        assert found_in(MediaType.MARKDOWN, tmp_path / "a", text) == [
            (None, "---\ntitle: Guide\n---\nBefore."),
            ("Guide", "    # indented code"),
            ("Install C#", code + "\nTwo lines\nof text\n-------"),
            ("Install C# > C#", "Text of *C#*."),
            ("Install C# > Leaf", "Leaf"),
        ]

    def test_markdown_sample_is_loaded(self) -> None:
        headings = [heading for _, heading, _ in found(MediaType.MARKDOWN, SAMPLES / "handbook.md")]

        assert headings[1:4] == [
            "Kestrin staff handbook > Working time",
            "Kestrin staff handbook > Working time > Overtime",
            "Kestrin staff handbook > Holidays",
        ]
        assert headings[-1] == "Kestrin staff handbook > Working from home"


class TestText:
    @pytest.mark.parametrize(
        ("encoding", "text"),
        [
            ("utf-8", "Größe und 大小 😀"),
            ("utf-8-sig", "Größe und 大小 😀"),
            ("utf-16", "Größe und 大小 😀"),
            ("utf-32", "Größe und 大小 😀"),
            ("gbk", "星云咖啡机的保修期为两年。请联系客服中心办理退货手续，费用由公司承担。"),
            ("gb18030", "镕基先生的保修期为两年。请联系客服中心办理退货手续，费用由公司承担。"),
            ("big5", "星雲咖啡機的保固期為兩年。請聯絡客服中心辦理退貨手續，費用由公司承擔。"),
            ("shift_jis", "このコーヒーメーカーの保証期間は二年です。返品はお客様センターまでご連絡ください。"),
            ("latin-1", "Le café est préparé à la demande; la garantie est de deux années, élèves compris."),
            ("cp1252", "Die Garantie beträgt zwei Jahre – größere Geräte holen wir für 10 € ab."),
            ("cp1251", "Гарантия на кофеварку составляет два года. По вопросам возврата обращайтесь в отдел."),
            ("koi8_r", "Гарантия на кофеварку составляет два года. По вопросам возврата обращайтесь в отдел."),
            ("cp1253", "Η εγγύηση της καφετιέρας διαρκεί δύο χρόνια· για επιστροφές καλέστε το κέντρο."),
            ("cp1255", "האחריות על מכונת הקפה היא לשנתיים. להחזרות יש לפנות למרכז השירות."),
            ("cp1256", "ضمان آلة القهوة سنتان. لإرجاع الجهاز يرجى الاتصال بمركز خدمة العملاء في المدينة."),
            ("cp874", "เครื่องชงกาแฟมีการรับประกันสองปี หากต้องการคืนสินค้าโปรดติดต่อศูนย์บริการลูกค้า"),
            ("cp949", "이 커피 머신의 보증 기간은 이 년입니다. 반품하려면 고객 센터에 문의하십시오."),
            ("euc_jp", "このコーヒーメーカーの保証期間は二年です。返品はお客様センターまでご連絡ください。"),
        ],
    )
    @pytest.mark.parametrize("before", [0, 300_000])
    def test_encodings_are_detected(self, tmp_path: Path, encoding: str, text: str, before: int) -> None:
        whole = "All ASCII here.\n" * (before // 16) + (text + "\n") * 5
        ((_, read),) = found_in(MediaType.TEXT, tmp_path / "a", whole.encode(encoding))
        assert read == whole.rstrip()

    def test_big_endian_utf_16_is_detected(self, tmp_path: Path) -> None:
        content = "\ufeffGröße und 大小".encode("utf-16-be")
        assert found_in(MediaType.TEXT, tmp_path / "a", content) == [(None, "Größe und 大小")]

    def test_long_text_without_spaces_is_loaded(self, tmp_path: Path) -> None:
        text = "保修期为两年请联系客服中心办理退货手续" * 20_000
        ((_, read),) = found_in(MediaType.TEXT, tmp_path / "a", text.encode("gbk"))
        assert read == text

    @pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
    def test_few_invalid_bytes_are_replaced(self, tmp_path: Path, encoding: str) -> None:
        line = "保修期为两年。请联系客服中心办理退货手续。\n".encode(encoding)

        ((_, read),) = found_in(MediaType.TEXT, tmp_path / "a", line * 50 + b"\xff\n" + line * 50)

        assert read.count("保修期为两年。请联系客服中心办理退货手续。\n") == 99
        assert read.count("\N{REPLACEMENT CHARACTER}") == 1

    def test_few_invalid_bytes_in_ascii_are_replaced(self, tmp_path: Path) -> None:
        content = b"All ASCII.\n" * 50 + b"but\x81\x00\xff\x9d for these\n"
        ((_, read),) = found_in(MediaType.TEXT, tmp_path / "a", content)
        assert read.startswith("All ASCII.\n" * 50 + "but")
        assert read.endswith("for these")

    def test_central_european_text_is_refused_rather_than_misread(self, tmp_path: Path) -> None:
        text = "Příliš žluťoučký kůň úpěl ďábelské ódy. Svitky jsou starověké židovské náboženské texty. "
        with pytest.raises(UnreadableDocument, match="Save it as UTF-8"):
            found_in(MediaType.TEXT, tmp_path / "a", (text * 20).encode("cp1250"))

    def test_mixed_encodings_are_rejected(self, tmp_path: Path) -> None:
        assert reason(MediaType.TEXT, files.mixed_encodings(tmp_path / "a")) == (
            "The text encoding is unknown, or the file mixes several. Save it as UTF-8."
        )

    def test_binary_content_after_text_is_rejected(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        path.write_bytes(b"Text.\n" * 20_000 + bytes(range(256)) * 2000)
        assert reason(MediaType.TEXT, path) == (
            "The text encoding is unknown, or the file mixes several. Save it as UTF-8."
        )

    def test_control_characters_are_removed(self, tmp_path: Path) -> None:
        content = b"one\0two\x07\x7f\tthree\r\nfour\rfive"
        assert found_in(MediaType.TEXT, tmp_path / "a", content) == [(None, "onetwo\tthree\nfour\nfive")]

    def test_lone_surrogates_are_replaced(self, tmp_path: Path) -> None:
        content = b"\xff\xfe" + "text".encode("utf-16-le") + b"\x00\xd8" + "end".encode("utf-16-le")
        assert found_in(MediaType.TEXT, tmp_path / "a", content) == [(None, "text\N{REPLACEMENT CHARACTER}end")]
        content = b"<p>a&#xD800;b&#0;c"
        ((_, text),) = found_in(MediaType.HTML, tmp_path / "a", content)
        text.encode()
        assert "\0" not in text

    def test_blank_text_has_no_sections(self, tmp_path: Path) -> None:
        for media_type in (MediaType.TEXT, MediaType.MARKDOWN, MediaType.HTML, MediaType.CSV):
            assert found_in(media_type, tmp_path / "a", b" \n\t\r\n") == []
            assert found_in(media_type, tmp_path / "a", b"") == []

    def test_text_without_line_ends_is_loaded(self, tmp_path: Path) -> None:
        path = files.one_line(tmp_path / "a", 3 * 2**20)

        sections = load(MediaType.TEXT, path)

        assert len(sections) == 4
        assert "".join(section.page_content + " " for section in sections).split() == path.read_text().split()

    def test_long_texts_are_split_at_line_ends(self, tmp_path: Path) -> None:
        line = "A line of text.\n"
        sections = found_in(MediaType.TEXT, tmp_path / "a", line * 100_000)
        assert all(text.endswith("A line of text.") and text.startswith("A line") for _, text in sections)
        assert sum(text.count("\n") + 1 for _, text in sections) == 100_000
