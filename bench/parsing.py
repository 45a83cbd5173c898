"""Parsing of generated files: `python -m bench.parsing [--scans] [--font FILE]`.

Measures the speed and the memory of the child process by format, and 200 questions about cells of tables in five
formats: how often the right row is in the first three chunks. With `--scans`, pages of text are drawn as pictures, and
the search in their recognised text is compared with the search in the text. The search is BM25 over the chunks, without
a model. Needs the packages of `make setup`; Chinese scans need a font, such as WenQuanYi Micro Hei.
"""

import argparse
import asyncio
import io
import math
import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from statistics import mean
from time import perf_counter

import docx
import openpyxl
import psutil
import pypdfium2
from PIL import Image, ImageDraw, ImageFont

from bench.report import table
from project3_rag_docs.ingestion.parsing import ParseLimits
from project3_rag_docs.ingestion.parsing.child import ParsedChunk, parse, read_chunks
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from project3_rag_docs.ingestion.recognition import RecognitionLimits, recognise
from project3_rag_docs.search.lexical import analyse
from tests.support import pdf_files

FORMATS = ("docx", "xlsx", "pdf", "html", "csv")
COLUMNS = ("Article", "Warranty", "Weight", "Price", "Stock")
COLUMNS_ZH = ("商品", "保修期", "重量", "价格", "库存")
_NOUNS = "kettle iron lamp fan toaster mixer heater scale clock radio speaker camera printer scanner router"
_NOUNS_ZH = "水壶 熨斗 台灯 风扇 烤箱 搅拌机 暖炉 秤 时钟 音箱 相机 打印机 扫描仪 路由器 吸尘器"
_MAKES, _MAKES_ZH = "Aria Boreal Cetus Dorado Lyra Orion Pavo Vela", "星云 北辰 天琴 长庚 启明 银河 苍龙 朱雀"
_FONTS = ("truetype/wqy/wqy-microhei.ttc", "opentype/noto/NotoSansCJK-Regular.ttc")

Rows = list[list[str]]


def articles(chinese: bool, number: int, seed: int) -> Rows:
    """Return a table with a header and rows of articles."""
    chance = random.Random(seed)  # noqa: S311  reproducible data, no secret
    makes, nouns = (_MAKES_ZH, _NOUNS_ZH) if chinese else (_MAKES, _NOUNS)
    names = [f"{make} {noun} {model}" for model in (100, 200, 300) for make in makes.split() for noun in nouns.split()]
    values = [
        [name, f"{chance.randint(6, 99)}", f"{chance.randint(100, 9999)} g", f"{chance.randint(100, 99999) / 100:.2f}",
         f"{chance.randint(0, 5000)}"]
        for name in chance.sample(names, number)
    ]  # fmt: skip
    return [list(COLUMNS_ZH if chinese else COLUMNS), *values]


def write_table(path: Path, rows: Rows) -> Path:
    """Write a table in the format of the path's suffix."""
    match path.suffix:
        case ".docx":
            document = docx.Document()
            grid = document.add_table(len(rows), len(rows[0]))
            for line, row in zip(grid.rows, rows, strict=True):
                for cell, text in zip(line.cells, row, strict=True):
                    cell.text = text
            document.save(str(path))
        case ".xlsx":
            book = openpyxl.Workbook(write_only=True)
            sheet = book.create_sheet("Articles")
            for row in rows:
                sheet.append(row)
            book.save(path)
        case ".pdf":
            pages = [[rows[0], *rows[1:][at : at + 50]] for at in range(0, len(rows) - 1, 50)]
            contents = [
                pdf_files.texts(
                    [(40 + 110 * x, 800 - 14 * y, text) for y, row in enumerate(page) for x, text in enumerate(row)]
                )
                for page in pages
            ]
            pdf_files.write(path, contents)
        case ".html":
            lines = ("<tr>" + "".join(f"<td>{text}</td>" for text in row) for row in rows)
            path.write_text(f"<meta charset=utf-8><table>{''.join(lines)}</table>", encoding="utf-8")
        case _:
            path.write_text("\n".join(",".join(row) for row in rows), encoding="utf-8")
    return path


class Search:
    """BM25 over chunks."""

    def __init__(self, chunks: Iterable[ParsedChunk]) -> None:
        self._chunks = list(chunks)
        self._mean = mean(sum(chunk.terms.values()) for chunk in self._chunks)
        self._found = Counter(term for chunk in self._chunks for term in chunk.terms)

    def __call__(self, question: str, k: int) -> list[ParsedChunk]:
        """Return the best chunks."""
        terms = analyse(question).terms
        return sorted(self._chunks, key=lambda chunk: self._score(terms, chunk), reverse=True)[:k]

    def _score(self, terms: Mapping[str, int], chunk: ParsedChunk) -> float:
        length, total = sum(chunk.terms.values()), len(self._chunks)
        return sum(
            math.log(1 + (total - self._found[term] + 0.5) / (self._found[term] + 0.5))
            * chunk.terms[term] * 2.2 / (chunk.terms[term] + 1.2 * (0.25 + 0.75 * length / self._mean))
            for term in terms
            if term in chunk.terms
        )  # fmt: skip


async def parsed(path: Path, recognised: dict[int, str] | None = None) -> list[ParsedChunk]:
    """Parse a file in a child process."""
    media_type = MediaType[{"TXT": "TEXT"}.get(kind := path.suffix[1:].upper(), kind)]
    into = path.with_suffix(".chunks")
    await parse(path, media_type, ParseLimits(), into, recognised)
    return list(read_chunks(into))


async def measure_speed(folder: Path) -> str:
    """Parse a large table in each format."""
    lines = []
    for suffix in FORMATS:
        path = write_table(folder / f"large.{suffix}", [articles(False, 1, 0)[0], *articles(False, 350, 1)[1:] * 10])
        peak = 0
        started, task = perf_counter(), asyncio.create_task(parsed(path))
        while not task.done():
            await asyncio.sleep(0.02)
            peak = max([peak, *_child_memory()])
        seconds = perf_counter() - started
        lines.append((suffix, "3,500", f"{len(await task):,}", f"{seconds:.2f}", f"{peak / 2**20:.0f}"))
    return table(("format", "rows", "chunks", "seconds", "MiB of the child"), lines)


def _child_memory() -> Iterator[int]:
    for child in psutil.Process().children(recursive=True):
        try:
            yield child.memory_info().rss
        except psutil.NoSuchProcess:
            continue


async def measure_cells(folder: Path) -> str:
    """Ask for cells of tables in each format, all in one index for each language."""
    lines = []
    for chinese in (False, True):
        formats = [suffix for suffix in FORMATS if not (chinese and suffix == "pdf")]
        tables = {suffix: articles(chinese, 120, number) for number, suffix in enumerate(formats)}
        chunks = {of: await parsed(write_table(folder / f"{chinese}.{of}", rows)) for of, rows in tables.items()}
        chance = random.Random(7)  # noqa: S311  reproducible data, no secret
        for suffix, rows in tables.items():
            search = Search(chunks[suffix])
            wanted = [(row, chance.randrange(1, 5)) for row in chance.sample(rows[1:], 25 if chinese else 20)]
            right = sum(_is_right(search, rows[0], row, column, chinese=chinese) for row, column in wanted)
            lines.append((suffix, "Chinese" if chinese else "English", f"{right} of {len(wanted)}"))
    return table(("format", "language", "right row in the first three chunks"), lines)


def _is_right(search: Search, names: Sequence[str], row: Sequence[str], column: int, *, chinese: bool) -> bool:
    name = names[column]
    question = f"{row[0]}的{name}是多少？" if chinese else f"What is the {name.lower()} of the {row[0]}?"
    answers = (f"{names[0]}: {row[0]}", f"{name}: {row[column]}")
    lines = (line for chunk in search(question, 3) for line in chunk.text.split("\n"))
    return any(all(answer in line for answer in answers) for line in lines)


async def measure_scans(folder: Path, font: Path, documents: int) -> str:
    """Compare the search in recognised pages with the search in their text."""
    texts = [_letter(number, chinese=number % 2 == 1) for number in range(documents)]
    original = [await _indexed(folder, number, text) for number, text in enumerate(texts)]
    lines = []
    for dpi in (150, 300):
        found, seconds = [], perf_counter()
        for number, text in enumerate(texts):
            path = _scan(folder / f"{dpi}-{number}.pdf", text, font, dpi, skew=0.7 if number % 3 else -1.0)
            async with aclosing(recognise(path, [1], RecognitionLimits(seconds=300))) as pages:
                recognised = {page: words async for page, words in pages}
            found.append(await parsed(path, recognised))
        seconds = (perf_counter() - seconds) / len(texts)
        scores = [_ndcg(original), _ndcg(found)]
        lines.append(
            (str(dpi), *(f"{score:.3f}" for score in scores), f"{scores[1] / scores[0]:.3f}", f"{seconds:.1f}")
        )
    return table(("dpi", "nDCG@10, text", "nDCG@10, scans", "ratio", "seconds a page"), lines)


def _letter(number: int, *, chinese: bool) -> str:
    rows = articles(chinese, 12, 100 + number)
    if chinese:
        return "\n".join(f"{row[0]}的保修期为{row[1]}个月，重量为{row[2]}，售价{row[3]}元。" for row in rows[1:])
    return "\n".join(f"The {row[0]} has a warranty of {row[1]} months and costs {row[3]} euros." for row in rows[1:])


async def _indexed(folder: Path, number: int, text: str) -> list[ParsedChunk]:
    path = folder / f"{number}.txt"
    path.write_text(text, encoding="utf-8")
    return await parsed(path)


def _scan(path: Path, text: str, font: Path, dpi: int, skew: float) -> Path:
    page = Image.new("L", (int(8.27 * dpi), int(11.69 * dpi)), 255)
    ImageDraw.Draw(page).multiline_text(
        (dpi * 0.8, dpi), text, fill=20, font=ImageFont.truetype(str(font), dpi * 11 // 72), spacing=dpi // 12
    )
    picture = io.BytesIO()
    page.rotate(skew, fillcolor=255, resample=Image.Resampling.BICUBIC).save(picture, "JPEG", quality=70)
    with pypdfium2.PdfDocument.new() as pdf:
        drawn = pdf.new_page(595, 842)
        image = pypdfium2.PdfImage.new(pdf)
        image.load_jpeg(io.BytesIO(picture.getvalue()))
        image.set_matrix(pypdfium2.PdfMatrix().scale(595, 842))
        drawn.insert_obj(image)
        drawn.gen_content()
        pdf.save(str(path))
    return path


def _ndcg(documents: Sequence[Sequence[ParsedChunk]]) -> float:
    """Return the nDCG@10 of questions about one sentence of each document; the right document counts."""
    search = Search(chunk for chunks in documents for chunk in chunks)
    owner = {id(chunk): number for number, chunks in enumerate(documents) for chunk in chunks}
    scores = []
    for number in range(len(documents)):
        for row in articles(number % 2 == 1, 12, 100 + number)[1::4]:
            question = f"{row[0]}的保修期{row[1]}个月" if number % 2 else f"{row[0]} warranty of {row[1]} months"
            ranks = [owner[id(chunk)] for chunk in search(question, 10)]
            scores.append(1 / math.log2(ranks.index(number) + 2) if number in ranks else 0.0)
    return mean(scores)


def _font(given: str | None) -> Path:
    paths = [Path(given)] if given else [Path("/usr/share/fonts", name) for name in _FONTS]
    for path in paths:
        if path.exists():
            return path
    raise SystemExit("no Chinese font found; name one with --font")


async def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.parsing", description="Measure the parsing of files.")
    parser.add_argument("--scans", action="store_true", help="also recognise drawn pages; takes minutes")
    parser.add_argument("--documents", type=int, default=40, help="number of drawn pages (default: 40)")
    parser.add_argument("--font", help="font with Chinese characters")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(await measure_speed(Path(name)), end="\n\n", flush=True)
        print(await measure_cells(Path(name)), end="\n\n", flush=True)
        if arguments.scans:
            print(await measure_scans(Path(name), _font(arguments.font), arguments.documents), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
