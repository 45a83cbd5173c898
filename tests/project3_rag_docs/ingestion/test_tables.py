"""Tables of any format: which row is the header, and what a row says without the others."""

from pathlib import Path

import pytest

from project3_rag_docs.ingestion.parsing import ParseLimits
from project3_rag_docs.ingestion.parsing.child import read_chunks, write_chunks
from project3_rag_docs.ingestion.parsing.loaders import loader_for
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from project3_rag_docs.ingestion.parsing.tables import table_lines
from tests.support import files


def csv_text(path: Path, content: str) -> str:
    path.write_text(content)
    return "\n".join(document.page_content for document in loader_for(MediaType.CSV, path).lazy_load())


def html_lines(path: Path, table: str) -> list[str]:
    path.write_text(f"<p>Before.</p><table>{table}</table><p>After.</p>")
    documents = loader_for(MediaType.HTML, path).lazy_load()
    return [line for document in documents for line in document.page_content.split("\n")][1:-1]


class TestHeaders:
    @pytest.mark.parametrize(
        "rows",
        [
            [["Aria", "249"], ["Max", "349"]],
            [["2024-01-01", "5", "Aria"], ["2024-01-02", "6", "Max"]],
            [["KF-012", "Filter"], ["KF-013", "Pump"], ["KF-099", "Lamp"]],
            [["a@example.com", "Ann"], ["b@example.com", "Bob"]],
            [["yes", "Ann", "Oslo"], ["yes", "Bob", "Riga"]],
            [["Ann", "12 kg"], ["Bob", "14 kg"]],
            [["张三", "3 月 5 日"], ["李四", "4 月 6 日"]],
        ],
    )
    def test_data_is_no_header(self, rows: list[list[str]]) -> None:
        assert list(table_lines(rows)) == [" | ".join(row) for row in rows]

    @pytest.mark.parametrize(
        ("rows", "last"),
        [
            ([["Name", "Price"], ["Aria", "249"]], "Name: Aria; Price: 249"),
            ([["Region", "2024", "2025"], ["North", "10", "12"]], "Region: North; 2024: 10; 2025: 12"),
            ([["姓名", "城市"], ["张三", "北京"]], "姓名: 张三; 城市: 北京"),
            ([["单位", "1月", "2月"], ["亿元", "6779.07", "6861.12"]], "单位: 亿元; 1月: 6779.07; 2月: 6861.12"),
            ([["项目", "2024年1月", "2025年"], ["存款", "5", "6"]], "项目: 存款; 2024年1月: 5; 2025年: 6"),
            ([["Prices"], ["Name", "Price"], ["Aria", "€ 249.00"]], "Name: Aria; Price: € 249.00"),
            (
                [["", "2024", "", "2025"], ["Name", "Q1", "Q2", "Q1"], ["Aria", "1", "2", "3"]],
                "Name: Aria; 2024 Q1: 1; 2024 Q2: 2; 2025 Q1: 3",
            ),
            ([["Id", "Code"], ["1", "KF-012"], ["2", "KF-013"]], "Id: 2; Code: KF-013"),
        ],
    )
    def test_names_are_a_header(self, rows: list[list[str]], last: str) -> None:
        assert list(table_lines(rows))[-1] == last

    def test_pairs_of_words_in_a_document_have_no_header(self) -> None:
        rows = [["Name", "Ann Smith"], ["Department", "Sales"]]
        assert list(table_lines(rows, sheet=False)) == ["Name | Ann Smith", "Department | Sales"]


class TestRows:
    def test_long_row_repeats_its_first_cell(self) -> None:
        names = ["Article", *(f"Property {number}" for number in range(40))]
        lines = list(table_lines([names, ["Kettle", *(f"a long value {number}" for number in range(40))]], 1))
        assert len(lines) > 1
        assert all(line.startswith("Article: Kettle; Property ") and len(line) < 800 for line in lines)

    @pytest.mark.parametrize("suffix", ["docx", "html", "csv"])
    def test_every_chunk_of_a_table_has_the_header(self, tmp_path: Path, suffix: str) -> None:
        rows = [["Article", "Days", "Price"], *([f"Kettle {n}", f"{n % 30}", f"{n * 3}"] for n in range(300))]
        path = tmp_path / f"a.{suffix}"
        if suffix == "docx":
            files.word(path, [rows[:60]])
        elif suffix == "html":
            path.write_text("<table>" + "".join(f"<tr><td>{'<td>'.join(row)}" for row in rows) + "</table>")
        else:
            path.write_text("\n".join(",".join(row) for row in rows))

        write_chunks(path, MediaType[suffix.upper()], ParseLimits(), tmp_path / "chunks")

        chunks = list(read_chunks(tmp_path / "chunks"))
        assert len(chunks) > 1
        assert all(chunk.text.startswith("Article: Kettle") for chunk in chunks)


class TestCsv:
    @pytest.mark.parametrize("quote", ['"', ""])
    def test_cell_of_any_length_is_read(self, tmp_path: Path, quote: str) -> None:
        prose = "The warranty is two years. " * 8000
        text = csv_text(tmp_path / "a", f"id;text\n1;{quote}{prose}{quote}\n2;short\n")
        assert text.count("two years") == 8000
        assert text.endswith("id: 2; text: short")


class TestHtml:
    def test_spans_are_resolved(self, tmp_path: Path) -> None:
        table = """<caption>Sales</caption><thead><tr><th rowspan=2>Region<th colspan=2>2025<tr><th>Q1<th>Q2</thead>
            <tr><td rowspan=2>North<td>1<td>2<tr><td>3<td>4<tr><td colspan=3>Closed</table>"""
        assert html_lines(tmp_path / "a", table) == [
            *("Sales", "Region: North; 2025 Q1: 1; 2025 Q2: 2", "Region: North; 2025 Q1: 3; 2025 Q2: 4", "Closed"),
        ]

    def test_table_that_arranges_a_page_is_text(self, tmp_path: Path) -> None:
        table = "<tr><td>Menu<td><table><tr><td>Inner<td>1</table><p>Text."
        assert html_lines(tmp_path / "a", table) == ["Menu", "Inner", "1", "Text."]
