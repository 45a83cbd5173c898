"""Office files as programs write them: broken where it does not matter, with notes, numbers, charts and formats."""

import datetime as dt
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Cm

from project3_rag_docs.ingestion.parsing.loaders import loader_for
from project3_rag_docs.ingestion.parsing.media_types import MediaType, decide_media_type
from project3_rag_docs.ingestion.parsing.number_formats import shown
from tests.support import files, office

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_M = "http://schemas.openxmlformats.org/officeDocument/2006/math"


def media_type(path: Path) -> MediaType:
    content = path.read_bytes()
    return decide_media_type(path.name, content[:65536], content[-65536:], io.BytesIO(content))


def read(path: Path) -> str:
    return "\n".join(document.page_content for document in loader_for(media_type(path), path).lazy_load())


WORD, SLIDES, WORKBOOK = office.word, office.slides, office.workbook
DOCUMENT_RELATIONSHIPS = "word/_rels/document.xml.rels"


class TestPackage:
    @pytest.mark.parametrize(
        ("write", "part", "kind", "target"),
        [
            (WORD, DOCUMENT_RELATIONSHIPS, "image", "../NULL"),
            (WORD, DOCUMENT_RELATIONSHIPS, "image", "NULL"),
            (WORD, DOCUMENT_RELATIONSHIPS, "hyperlink", "#_top"),
            (WORD, DOCUMENT_RELATIONSHIPS, "image", ""),
            (WORD, DOCUMENT_RELATIONSHIPS, "image", "media/image 1.png"),
            (WORD, DOCUMENT_RELATIONSHIPS, "settings", "/word/settings99.xml"),
            (WORD, DOCUMENT_RELATIONSHIPS, "footnotes", "missing.xml"),
            (WORD, "_rels/.rels", "thumbnail", "docProps/none.jpeg"),
            (SLIDES, "ppt/slides/_rels/slide1.xml.rels", "image", "../NULL"),
            (SLIDES, "ppt/slides/_rels/slide1.xml.rels", "notesSlide", "../notesSlides/none.xml"),
            (WORKBOOK, "xl/_rels/workbook.xml.rels", "externalLink", "externalLinks/externalLink1.xml"),
            (WORKBOOK, "xl/_rels/workbook.xml.rels", "sharedStrings", "none.xml"),
        ],
    )
    def test_relationships_may_lead_nowhere(
        self, tmp_path: Path, write: Callable[[Path], Path], part: str, kind: str, target: str
    ) -> None:
        assert office.SENTENCE in read(office.with_relationship(write(tmp_path / "a"), part, kind, target))

    @pytest.mark.parametrize(
        "part", ["word/settings.xml", "word/styles.xml", "docProps/core.xml", "word/theme/theme1.xml"]
    )
    def test_parts_of_a_word_document_may_be_missing(self, tmp_path: Path, part: str) -> None:
        assert office.SENTENCE in read(office.rewrite(WORD(tmp_path / "a"), drop=part))

    @pytest.mark.parametrize("part", ["xl/styles.xml", "xl/theme/theme1.xml", "docProps/app.xml"])
    def test_parts_of_a_workbook_may_be_missing(self, tmp_path: Path, part: str) -> None:
        assert office.SENTENCE in read(office.rewrite(WORKBOOK(tmp_path / "a"), drop=part))

    @pytest.mark.parametrize(
        ("write", "old", "new"),
        [
            (WORD, "word/document.xml", "word/document2.xml"),
            (WORD, "word/document.xml", "word/Document.xml"),
            (SLIDES, "ppt/presentation.xml", "ppt/presentation2.xml"),
            (WORKBOOK, "xl/workbook.xml", "xl/workbook2.xml"),
        ],
    )
    def test_main_part_may_have_any_name(
        self, tmp_path: Path, write: Callable[[Path], Path], old: str, new: str
    ) -> None:
        assert office.SENTENCE in read(office.with_main_part(write(tmp_path / "a"), old, new))

    @pytest.mark.parametrize("write", [WORD, SLIDES, WORKBOOK])
    def test_strict_files_are_read(self, tmp_path: Path, write: Callable[[Path], Path]) -> None:
        assert office.SENTENCE in read(office.strict(write(tmp_path / "a")))

    def test_names_may_have_backslashes(self, tmp_path: Path) -> None:
        assert office.SENTENCE in read(office.backslashes(WORD(tmp_path / "a")))

    @pytest.mark.parametrize("write", [SLIDES, WORKBOOK])
    def test_embedded_file_does_not_decide_the_type(self, tmp_path: Path, write: Callable[[Path], Path]) -> None:
        embedded = {"ppt/embeddings/Microsoft_Word_Document.docx": WORD(tmp_path / "inner").read_bytes()}
        path = office.rewrite(write(tmp_path / "a"), add=embedded)
        assert media_type(path) is (MediaType.PPTX if write is SLIDES else MediaType.XLSX)

    def test_type_is_found_in_a_long_directory(self, tmp_path: Path) -> None:
        many = {f"word/media/a-picture-with-a-long-name-{number:05}.txt": b"x" for number in range(2000)}
        assert media_type(office.rewrite(WORD(tmp_path / "a"), add=many)) is MediaType.DOCX


def paragraph(*runs: str) -> str:
    return f"<w:p>{''.join(runs)}</w:p>"


def run(text: str = "", other: str = "") -> str:
    return f'<w:r>{other}<w:t xml:space="preserve">{text}</w:t></w:r>'


def math(inner: str) -> str:
    return f"<m:oMath>{inner}</m:oMath>"


def symbol(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


def ruby(base: str, reading: str) -> str:
    return f"<w:r><w:ruby><w:rt>{run(reading)}</w:rt><w:rubyBase>{run(base)}</w:rubyBase></w:ruby></w:r>"


_FALLBACK = (
    "<w:r><mc:AlternateContent><mc:Choice><w:t>new</w:t></mc:Choice><mc:Fallback><w:t>old</w:t></mc:Fallback>"
    "</mc:AlternateContent></w:r>"
)
CHARACTERS = {
    "no-break hyphen": (run("within 1") + run("24 hours", "<w:noBreakHyphen/>"), "within 1-24 hours"),
    "soft hyphen": (run("infor") + run("mation", "<w:softHyphen/>"), "information"),
    "symbol": (run("5 ") + run(" 2 mm", '<w:sym w:font="Symbol" w:char="F0B1"/>'), "5 ± 2 mm"),
    "unknown symbol": (run("a") + run("b", '<w:sym w:font="Own" w:char="F8FE"/>'), "ab"),
    "ruby": (ruby("汉", "hàn") + ruby("语", "yǔ"), "汉语"),
    "tab": (run("left") + run("right", "<w:ptab/>"), "left\tright"),
    "equation": (run("a rate of ") + math(symbol("r=0.05")) + run(" a year"), "a rate of r=0.05 a year"),
    "fraction": (math(f"<m:f><m:num>{symbol('1')}</m:num><m:den>{symbol('2')}</m:den></m:f>"), "1/2"),
    "sum in a fraction": (math(f"<m:f><m:num>{symbol('a+b')}</m:num><m:den>{symbol('2')}</m:den></m:f>"), "(a+b)/2"),
    "power": (math(f"<m:sSup><m:e>{symbol('10')}</m:e><m:sup>{symbol('6')}</m:sup></m:sSup>"), "10^6"),
    "root": (math(f"<m:rad><m:deg/><m:e>{symbol('2')}</m:e></m:rad>"), "√2"),
    "field": (f'<w:fldSimple w:instr="PAGE">{run("page 3")}</w:fldSimple>', "page 3"),
    "instruction": (f"<w:r><w:instrText>HYPERLINK</w:instrText></w:r>{run('shown')}", "shown"),
    "check box": (f"<w:sdt><w:sdtContent>{run('☒')}</w:sdtContent></w:sdt>{run(' agreed')}", "☒ agreed"),
    "fallback": (_FALLBACK, "new"),
}


def body(path: Path, xml: str, parts: dict[str, str] | None = None) -> Path:
    """Write a Word document with a body, and further parts by the kind of their relationship."""
    namespaces = f'xmlns:w="{_W}" xmlns:m="{_M}" xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    document = f"<w:document {namespaces}><w:body>{xml}</w:body></w:document>"
    files.word_with_xml(path, [document.encode()])
    for kind, content in (parts or {}).items():
        part = f'<w:{kind} xmlns:w="{_W}">{content}</w:{kind}>'.encode()
        office.with_relationship(path, DOCUMENT_RELATIONSHIPS, kind, f"{kind}9.xml", f"rId{kind}")
        office.rewrite(path, add={f"word/{kind}9.xml": part})
    return path


class TestWord:
    @pytest.mark.parametrize(("xml", "text"), CHARACTERS.values(), ids=CHARACTERS)
    def test_characters_are_kept(self, tmp_path: Path, xml: str, text: str) -> None:
        assert read(body(tmp_path / "a", paragraph(xml))) == text

    def test_equation_between_paragraphs_is_read(self, tmp_path: Path) -> None:
        xml = paragraph(run("before")) + f"<m:oMathPara>{math(symbol('E=mc'))}</m:oMathPara>" + paragraph(run("after"))
        assert read(body(tmp_path / "a", xml)) == "before\nE=mc\nafter"

    def test_notes_comments_and_margins_are_marked(self, tmp_path: Path) -> None:
        marks = '<w:footnoteReference w:id="2"/><w:endnoteReference w:id="1"/><w:commentReference w:id="0"/>'
        note = paragraph(run("{}"))
        parts = {
            "footnotes": f'<w:footnote w:id="2">{note.format("Except faults.")}</w:footnote>',
            "endnotes": f'<w:endnote w:id="1">{note.format("Since 2026.")}</w:endnote>',
            "comments": f'<w:comment w:id="0">{note.format("Really?")}</w:comment>',
            "header": note.format("Kestrin Ltd"),
            "footer": note.format("2026"),
        }
        assert read(body(tmp_path / "a", paragraph(run("Terms apply.", marks)), parts)).split("\n") == [
            "Terms apply.",
            "[Footnote: Except faults.]",
            "[Endnote: Since 2026.]",
            "[Comment: Really?]",
            "[Header: Kestrin Ltd]",
        ]

    def test_text_box_follows_its_paragraph(self, tmp_path: Path) -> None:
        box = f"<w:r><w:txbxContent>{paragraph(run('In a box.'))}</w:txbxContent></w:r>"
        assert read(body(tmp_path / "a", paragraph(run("Before, "), box, run("after.")))) == "Before, after.\nIn a box."

    def test_description_of_a_picture_is_read(self, tmp_path: Path) -> None:
        picture = '<w:r><w:drawing><w:docPr title="Map" descr="The way to the shop"/></w:drawing></w:r>'
        assert read(body(tmp_path / "a", paragraph(picture))) == "[Picture: Map The way to the shop]"

    LEVELS = "".join(
        f'<w:lvl w:ilvl="{level}"><w:start w:val="1"/><w:numFmt w:val="{form}"/><w:lvlText w:val="{text}"/></w:lvl>'
        for level, (form, text) in enumerate([("upperRoman", "Part %1"), ("decimal", "%2."), ("lowerLetter", "(%3)")])
    )
    LISTS = (
        f'<w:abstractNum w:abstractNumId="0">{LEVELS}</w:abstractNum>'
        '<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:numFmt w:val="chineseCounting"/>'
        '<w:lvlText w:val="第%1条"/></w:lvl></w:abstractNum>'
        '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num>'
        '<w:num w:numId="3"><w:abstractNumId w:val="1"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="11"/>'
        "</w:lvlOverride></w:num>"
    )

    def test_automatic_numbers_are_written(self, tmp_path: Path) -> None:
        def clause(text: str, level: int, of: int = 1) -> str:
            number = f'<w:pPr><w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{of}"/></w:numPr></w:pPr>'
            return paragraph(number, run(text))

        clauses = [("a", 0), ("b", 1), ("c", 1), ("d", 2), ("e", 2), ("f", 0), ("g", 1)]
        xml = "".join(clause(text, level) for text, level in clauses) + clause("h", 0, 2) + clause("i", 0, 3)
        assert read(body(tmp_path / "a", xml, {"numbering": self.LISTS})).split("\n") == [
            *("Part I a", "1. b", "2. c", "(a) d", "(b) e", "Part II f", "1. g", "第一条 h", "第十一条 i"),
        ]

    def test_table_has_its_header_in_every_row_and_spans_are_resolved(self, tmp_path: Path) -> None:
        document = docx.Document()
        table = document.add_table(5, 3)
        rows = [
            ("Region", "Sales", ""),
            ("", "2025", "2026"),
            ("North", "10", "12"),
            ("", "20", "22"),
            ("South", "1", "2"),
        ]
        for row, texts in zip(table.rows, rows, strict=True):
            for cell, text in zip(row.cells, texts, strict=True):
                cell.text = text
        for first, last in (((0, 1), (0, 2)), ((0, 0), (1, 0)), ((2, 0), (3, 0))):
            table.cell(*first).merge(table.cell(*last))
        document.save(str(tmp_path / "a"))

        assert read(tmp_path / "a").split("\n") == [
            "Region: North; Sales 2025: 10; Sales 2026: 12",
            "Region: North; Sales 2025: 20; Sales 2026: 22",
            "Region: South; Sales 2025: 1; Sales 2026: 2",
        ]

    def test_cells_in_content_controls_are_read(self, tmp_path: Path) -> None:
        cell = f"<w:tc>{paragraph(run('{}'))}</w:tc>"
        row = f"<w:tr>{cell.format('Name')}<w:sdt><w:sdtContent>{cell.format('Ann')}</w:sdtContent></w:sdt></w:tr>"
        assert read(body(tmp_path / "a", f"<w:tbl>{row}</w:tbl>")) == "Name | Ann"

    def test_header_of_a_table_can_be_off(self, tmp_path: Path) -> None:
        cells = "".join(
            f"<w:tc><w:tcPr><w:gridSpan w:val='0'/></w:tcPr>{paragraph(run(text))}</w:tc>" for text in ("Ann", "Bob")
        )
        first = f"<w:tr><w:trPr><w:tblHeader w:val='0'/></w:trPr>{cells}</w:tr>"
        table = f"<w:tbl>{first}<w:tr>{cells.replace('Ann', 'Cid').replace('Bob', 'Dan')}</w:tr></w:tbl>"
        assert read(body(tmp_path / "a", table)) == "Ann | Bob\nCid | Dan"


class TestSlides:
    def test_marks_of_merged_cells_can_be_off(self, tmp_path: Path) -> None:
        presentation = pptx.Presentation()
        slide = presentation.slides.add_slide(presentation.slide_layouts[6])
        table = slide.shapes.add_table(2, 2, *(Cm(1), Cm(1), Cm(9), Cm(9))).table
        for cell, text in zip(table.iter_cells(), ["Article", "Price", "Kettle", "9"], strict=True):
            cell.text = text
            cell._tc.set("hMerge", "0")
            cell._tc.set("vMerge", "false")
        presentation.save(str(tmp_path / "a"))

        assert read(tmp_path / "a") == "Article: Kettle; Price: 9"

    def test_footer_is_read_once(self, tmp_path: Path) -> None:
        presentation = pptx.Presentation()
        for number in (1, 2):
            slide = presentation.slides.add_slide(presentation.slide_layouts[6])
            slide.shapes.add_textbox(Cm(1), Cm(1), Cm(9), Cm(9)).text_frame.text = f"Slide {number}"
            slide.shapes.clone_placeholder(presentation.slide_layouts[6].placeholders.get(11))
            slide.placeholders[11].text = "Confidential draft"
        presentation.save(str(tmp_path / "a"))

        assert read(tmp_path / "a").split("\n") == ["Slide 1", "Slide 2", "[Footer: Confidential draft]"]

    def test_chart_is_read_as_a_table(self, tmp_path: Path) -> None:
        presentation = pptx.Presentation()
        data = CategoryChartData()  # type: ignore[no-untyped-call]  # python-pptx
        data.categories = ["North", "South"]
        data.add_series("Kettles", (10, 1.1 + 2.2))  # type: ignore[no-untyped-call]  # python-pptx
        slide = presentation.slides.add_slide(presentation.slide_layouts[6])
        kind, place = XL_CHART_TYPE.COLUMN_CLUSTERED, (Cm(1), Cm(1), Cm(9), Cm(9))
        chart = slide.shapes.add_chart(kind, *place, data).chart
        chart.has_title = True
        chart.chart_title.text_frame.text = "Sales by region"
        presentation.save(str(tmp_path / "a"))

        assert read(tmp_path / "a").split("\n") == ["Sales by region", "North; Kettles: 10", "South; Kettles: 3.3"]


class TestWorkbook:
    def test_cells_are_read_as_they_are_shown(self, tmp_path: Path) -> None:
        book = openpyxl.Workbook()
        book.active.append(["Rate", "Price", "Sold", "At"])
        book.active.append([0.0617, 1234.5, dt.date(2024, 5, 6), dt.time(9, 30)])
        for cell, form in zip(book.active[2], ["0.00%", '#,##0.00\\ "EUR"', "yyyy-mm-dd", "h:mm"], strict=True):
            cell.number_format = form
        book.save(tmp_path / "a")
        assert read(tmp_path / "a") == "Rate: 6.17%; Price: 1,234.50 EUR; Sold: 2024-05-06; At: 09:30"

    @pytest.mark.parametrize(
        ("value", "form", "text"),
        [
            (0.0617, "0.00 %", "6.17 %"),
            (1234567.891, "#,##0", "1,234,568"),
            (-5, "0.0;(0.0)", "(5.0)"),
            (-5, "0.00", "-5.00"),
            (0, '0;-0;"none"', "none"),
            (12, "000", "012"),
            (1500000, '0.0,,"m"', "1.5m"),
            (0.5, "0.##", "0.5"),
            (123000, "0.00E+00", "1.23E+5"),
            (99.5, "[$€-407] #,##0.00", "€ 99.50"),
            (45418, 'yyyy"年"m"月"d"日"', "2024-05-06"),
            (45418.75, "d/m/yy h:mm", "2024-05-06 18:00"),
            (1.5, "[h]:mm", "36:00"),
            (33966.26, "h:mm", "06:14:24"),
            (0.75, "h:mm AM/PM", "18:00"),
            (6222021234567890, "General", "6222021234567890"),
            (0.1 + 0.2, "General", "0.3"),
            (45418, "mmm yyyy", "2024-05"),
            (3, "General", "3"),
            (2.5, "# ?/?", "2.5"),
            (7, '0 "dm"', "7 dm"),
        ],
    )
    def test_number_formats(self, value: float, form: str, text: str) -> None:
        assert shown(value, form) == text

    def test_formulas_without_results_are_said(self, tmp_path: Path) -> None:
        path = files.workbook(tmp_path / "a", {"Sum": [["Article", "Price"], ["Kettle", 2], ["Total", "=SUM(B2:B2)"]]})
        loader = loader_for(MediaType.XLSX, path)

        assert [document.page_content for document in loader.lazy_load()] == [
            "Article: Kettle; Price: 2\nArticle: Total; Price: =SUM(B2:B2)"
        ]
        (notice,) = loader.notices
        assert notice.startswith("1 formulas have no stored result; they are read as formulas.")

    @pytest.mark.parametrize(
        "change",
        [
            lambda xml: re.sub(rb"<fill>.*?</fill>|<fill ?/>", b"<fill/>", xml, flags=re.DOTALL),
            lambda xml: xml.replace(b"<patternFill", b'<patternFill foo="1"', 1),
            lambda xml: xml.replace(b"<font>", b'<font><color rgb="nonsense"/>', 1),
            lambda xml: re.sub(rb'<family val="\d+" ?/>', b'<family val="99"/>', xml),
            lambda _: b"<nonsense",
        ],
    )
    def test_styles_may_be_odd(self, tmp_path: Path, change: office.Change) -> None:
        assert office.SENTENCE in read(office.rewrite(WORKBOOK(tmp_path / "a"), {"xl/styles.xml": change}))

    def test_tables_below_and_beside_each_other_have_their_own_headers(self, tmp_path: Path) -> None:
        rows: list[list[object]] = [
            ["Prices of 2026"],
            ["Article", "Price", None, "Shop", "Staff"],
            ["Kettle", 20, None, "Riga", 4],
            ["Iron", 30, None, "Oslo", 7],
            [],
            ["Name", "Age"],
            ["Ann", 31],
        ]
        assert read(files.workbook(tmp_path / "a", {"Sheet": rows})).split("\n") == [
            *("Prices of 2026", "Article: Kettle; Price: 20", "Article: Iron; Price: 30"),
            *("Shop: Riga; Staff: 4", "Shop: Oslo; Staff: 7", "Name: Ann; Age: 31"),
        ]

    def test_merged_cells_have_the_text_of_the_first(self, tmp_path: Path) -> None:
        book = openpyxl.Workbook()
        for row in (
            ["All sales"],
            ["Region", "2025", None],
            [None, "Q1", "Q2"],
            ["North", 1, 2],
            [None, 3, 4],
            ["East"],
        ):
            book.active.append(row)
        for area in ("A1:C1", "A2:A3", "B2:C2", "A4:A5", "A6:C6"):
            book.active.merge_cells(area)
        book.save(tmp_path / "a")
        assert read(tmp_path / "a").split("\n") == [
            "All sales",
            "Region: North; 2025 Q1: 1; 2025 Q2: 2",
            "Region: North; 2025 Q1: 3; 2025 Q2: 4",
            "East",
        ]

    def test_rows_are_streamed(self, tmp_path: Path) -> None:
        path = WORKBOOK(tmp_path / "a")
        empty = b"".join(b'<row r="%d"><c r="A%d" s="0"/></row>' % (row, row) for row in range(10, 60_000))
        office.rewrite(
            path, {"xl/worksheets/sheet1.xml": lambda xml: xml.replace(b"</sheetData>", empty + b"</sheetData>")}
        )
        assert read(path) == f"Article: Kettle; Warranty: {office.SENTENCE}; Price: 20"


def test_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = WORD(tmp_path / "a.docx")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    path.write_bytes(path.read_bytes().replace(b"PK\x05\x06", b"PK\x05\x07"))
    content = path.read_bytes()
    with pytest.raises(Exception, match="not a docx, pptx, xlsx, odt or epub"):
        decide_media_type("a.docx", content[:65536], content[-65536:], io.BytesIO(content))
