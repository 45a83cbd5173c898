"""PDFs as programs write them: encodings without Unicode, any drawing order, forms, and pages that cannot be read."""

from pathlib import Path

import pytest

from project3_rag_docs.ingestion.parsing import UnreadableDocument
from project3_rag_docs.ingestion.parsing.loaders import loader_for
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from tests.support import files, pdf_files

JAPANESE, CHINESE, TAIWANESE, KOREAN = (
    "保証期間は二年です",
    "保修期为两年请联系客服",
    "保固期為兩年",
    "보증기간은이년입니다",
)
GARBLED = "The text of the PDF cannot be read: its fonts do not say which characters they show."


def read(path: Path) -> str:
    return "\n".join(document.page_content for document in loader_for(MediaType.PDF, path).lazy_load())


class TestEncodings:
    @pytest.mark.parametrize(
        ("encoding", "collection", "text", "codec"),
        [
            ("EUC-H", "Japan1", JAPANESE, "euc_jp"),
            ("90ms-RKSJ-H", "Japan1", JAPANESE, "cp932"),
            ("UniJIS-UTF16-H", "Japan1", JAPANESE, "utf-16-be"),
            ("GB-EUC-H", "GB1", CHINESE, "gb2312"),
            ("GBKp-EUC-H", "GB1", CHINESE, "gbk"),
            ("GBK2K-H", "GB1", CHINESE, "gb18030"),
            ("KSCms-UHC-H", "Korea1", KOREAN, "cp949"),
            ("ETen-B5-H", "CNS1", TAIWANESE, "big5"),
        ],
    )
    def test_text_without_unicode_is_read(
        self, tmp_path: Path, encoding: str, collection: str, text: str, codec: str
    ) -> None:
        font = pdf_files.composite_font(encoding, collection)
        assert read(pdf_files.write(tmp_path / "a", [pdf_files.codes(text.encode(codec))], font)) == text

    @pytest.mark.parametrize(
        ("encoding", "collection", "text", "codec"),
        [("H", "Japan1", JAPANESE, "euc_jp"), ("GB-H", "GB1", CHINESE, "gb2312")],
    )
    def test_seven_bit_codes_are_read(
        self, tmp_path: Path, encoding: str, collection: str, text: str, codec: str
    ) -> None:
        codes = bytes(code & 0x7F for code in text.encode(codec))
        font = pdf_files.composite_font(encoding, collection)
        assert read(pdf_files.write(tmp_path / "a", [pdf_files.codes(codes)], font)) == text

    def test_identities_of_a_collection_are_read(self, tmp_path: Path) -> None:
        codes = b"".join(code.to_bytes(2, "big") for code in (843, 845, 847, 849))
        font = pdf_files.composite_font("Identity-H", "Japan1")
        assert read(pdf_files.write(tmp_path / "a", [pdf_files.codes(codes)], font)) == "あいうえ"

    @pytest.mark.parametrize(
        "font",
        [
            pdf_files.font_of_glyphs([f"g{number}" for number in range(135, 175)]),
            pdf_files.composite_font("Identity-H", "Identity"),
        ],
    )
    def test_codes_without_meaning_are_not_text(self, tmp_path: Path, font: str) -> None:
        path = pdf_files.write(tmp_path / "a", [pdf_files.codes(bytes(range(33, 73)))], font)
        with pytest.raises(UnreadableDocument) as refused:
            read(path)
        assert (refused.value.reason, refused.value.pages) == (GARBLED, (1,))

    def test_latin_letters_of_chinese_bytes_are_not_text(self, tmp_path: Path) -> None:
        font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
        path = pdf_files.write(tmp_path / "a", [pdf_files.codes((CHINESE * 3).encode("gbk"))], font)
        with pytest.raises(UnreadableDocument, match=GARBLED):
            read(path)

    LETTER = "The warranty of the kettle ends after two years; please send us the invoice."

    def test_codes_that_are_characters_are_text(self, tmp_path: Path) -> None:
        codes = self.LETTER.encode("utf-16-be")
        font = pdf_files.composite_font("Identity-H", "Identity")
        assert read(pdf_files.write(tmp_path / "a", [pdf_files.codes(codes)], font)) == self.LETTER

    def test_numbers_of_glyphs_in_their_usual_order_are_text(self, tmp_path: Path) -> None:
        text = self.LETTER + " Größe und Geräte"
        codes = b"".join((code - (29 if code < 127 else 30)).to_bytes(2, "big") for code in text.encode("mac_roman"))
        font = pdf_files.composite_font("Identity-H", "Identity")
        assert read(pdf_files.write(tmp_path / "a", [pdf_files.codes(codes)], font)) == text

    @pytest.mark.parametrize("leader", [". ", "."])
    def test_table_of_contents_is_text(self, tmp_path: Path, leader: str) -> None:
        lines = [(50, 800 - 20 * at, f"Chapter {at}{leader * 80}{at}") for at in range(1, 20)]
        assert "Chapter 7" in read(pdf_files.write(tmp_path / "a", [pdf_files.texts(lines, 6)]))

    def test_a_word_in_another_encoding_is_not_text(self, tmp_path: Path) -> None:
        font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
        path = pdf_files.write(tmp_path / "a", [pdf_files.codes("ã½ãá Ìãã".encode("cp1252"))], font)
        with pytest.raises(UnreadableDocument, match=GARBLED):
            read(path)

    def test_accents_and_symbols_are_text(self, tmp_path: Path) -> None:
        text = "Été à la forêt: «où êtes-vous?» 5 € ± 2 %; a = b² + c³"
        font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
        assert read(pdf_files.write(tmp_path / "a", [pdf_files.codes(text.encode("cp1252"))], font)) == text


class TestUnreadablePages:
    def test_pages_without_text_are_named(self, tmp_path: Path) -> None:
        drawing = "0 0 1 rg 50 50 400 600 re f"
        path = pdf_files.write(tmp_path / "a", [pdf_files.texts([(50, 700, "Text.")]), drawing, drawing, ""])
        loader = loader_for(MediaType.PDF, path)

        assert [document.metadata["page"] for document in loader.lazy_load()] == [1]
        assert loader.unreadable_pages == [2, 3]
        assert loader.notices == ["2 of 4 pages are images, in which no text was recognised: 2, 3."]

    def test_page_number_on_an_image_is_not_its_text(self, tmp_path: Path) -> None:
        path = pdf_files.write(tmp_path / "a", ["0 0 1 rg 0 0 595 842 re f " + pdf_files.texts([(290, 20, "- 7 -")])])
        loader = loader_for(MediaType.PDF, path)

        assert [document.page_content for document in loader.lazy_load()] == ["- 7 -"]
        assert loader.unreadable_pages == [1]

    def test_recognised_pages_are_marked(self, tmp_path: Path) -> None:
        loader = loader_for(MediaType.PDF, files.image_pdf(tmp_path / "a"), None, {1: "Read by OCR."})

        (document,) = loader.lazy_load()

        assert (document.page_content, document.metadata["recognised"]) == ("Read by OCR.", True)
        assert loader.notices == ["1 of 1 pages were read by OCR: 1."]


class TestOrder:
    def test_texts_of_a_line_are_sorted(self, tmp_path: Path) -> None:
        content = "BT /F1 9 Tf 330 700 Td (37,499.96) Tj -110 0 Td (DIRECTOR) Tj -160 0 Td (BAIN, J) Tj ET"
        assert read(pdf_files.write(tmp_path / "a", [content])) == "BAIN, J DIRECTOR 37,499.96"

    TABLE = (("Name", "Role", "Pay"), ("Anna", "Director", "10,000"), ("Bob", "Clerk", "20,000"))
    LINES = "Name: Anna; Role: Director; Pay: 10,000\nName: Bob; Role: Clerk; Pay: 20,000"

    @pytest.mark.parametrize("by_columns", [True, False])
    def test_table_is_read_by_rows(self, tmp_path: Path, by_columns: bool) -> None:
        placed = [(60 + 130 * x, 700 - 14 * y, cell) for y, row in enumerate(self.TABLE) for x, cell in enumerate(row)]
        if by_columns:
            placed.sort(key=lambda of: of[0])
        assert read(pdf_files.write(tmp_path / "a", [pdf_files.texts(placed)])) == self.LINES

    def test_columns_of_prose_are_read_one_after_the_other(self, tmp_path: Path) -> None:
        left = ("This is the left column of a", "paper that goes on with words", "and ends at this very line now.")
        right = ("Here the right column begins", "and also goes on for lines that", "are as long as the left ones.")
        placed = [
            (x, 700 - 14 * number, line)
            for number, lines in enumerate(zip(left, right, strict=True))
            for x, line in zip((50, 320), lines, strict=True)
        ]
        assert read(pdf_files.write(tmp_path / "a", [pdf_files.texts(placed, 12)])) == "\n".join((*left, *right))

    def test_text_drawn_twice_is_read_once(self, tmp_path: Path) -> None:
        content = pdf_files.texts([(50, 700, "The warranty is two years."), (50.3, 700, "The warranty is two years.")])
        assert read(pdf_files.write(tmp_path / "a", [content])) == "The warranty is two years."

    def test_words_placed_one_by_one_form_lines(self, tmp_path: Path) -> None:
        words = enumerate(["aaaaaa", "bbbbbb", "cccccc", "dddddd", "eeeeee", "ffffff"])
        placed = [(50 + 44 * (number % 3), 700 - 14 * (number // 3), word) for number, word in words]
        path = pdf_files.write(tmp_path / "a", [pdf_files.texts(placed, 12)])
        assert read(path) == "aaaaaa bbbbbb cccccc\ndddddd eeeeee ffffff"

    def test_characters_of_two_units_do_not_move_the_cells(self, tmp_path: Path) -> None:
        rows = [["𠮷𠮷𠮷𠮷", "1", "2"], ["𠮷𠮷𠮷", "3", "4"], ["𠮷", "5", "6"]]
        content = " ".join(
            f"BT /F1 9 Tf {60 + 130 * x} {700 - 14 * y} Td <{cell.encode('utf-16-be').hex()}> Tj ET"
            for y, row in enumerate(rows)
            for x, cell in enumerate(row)
        )
        font = pdf_files.composite_font("UniJIS-UTF16-H", "Japan1")
        assert read(pdf_files.write(tmp_path / "a", [content], font)) == "\n".join(" | ".join(row) for row in rows)

    @pytest.mark.parametrize("matrix", ["0 1 -1 0 {y} {x}", "0 -1 1 0 {minus_y} {minus_x}"])
    def test_table_on_its_side_is_read_by_rows(self, tmp_path: Path, matrix: str) -> None:
        placed = [(60 + 130 * x, 100 + 14 * y, cell) for y, row in enumerate(self.TABLE) for x, cell in enumerate(row)]
        content = " ".join(
            f"BT /F1 9 Tf {matrix.format(x=x, y=y, minus_x=800 - x, minus_y=500 - y)} Tm ({cell}) Tj ET"
            for x, y, cell in placed
        )
        assert read(pdf_files.write(tmp_path / "a", [content])) == self.LINES


class TestForms:
    CATALOG = "/AcroForm<</Fields[]/DA(/F1 12 Tf 0 g)/DR<</Font<</F1 3 0 R>>>>>>"

    @pytest.mark.parametrize("text", ["Surname:", ""])
    def test_values_are_text_of_their_page(self, tmp_path: Path, text: str) -> None:
        fields = pdf_files.field("surname", "Smithfield") + pdf_files.field("agreed", "Yes", "Btn")
        content = pdf_files.texts([(20, 100, text)]) if text else ""
        path = pdf_files.write(tmp_path / "a", [content], annotations=fields, catalog=self.CATALOG)
        assert read(path) == "\n".join(filter(None, (text, "surname: Smithfield", "agreed: Yes")))

    def test_comments_are_read(self, tmp_path: Path) -> None:
        note = "<</Type/Annot/Subtype/Text/Rect[10 10 30 30]/Contents(Check the price.)>>"
        path = pdf_files.write(tmp_path / "a", [pdf_files.texts([(20, 100, "Offer")])], annotations=note)
        assert read(path) == "Offer\n[Comment: Check the price.]"
