"""The loader of Word documents: a section per heading, with numbers, notes, comments, tables and text boxes."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.ooxml import Element, Package, TextReader, attribute, is_on, local_name
from project3_rag_docs.ingestion.parsing.sections import Outline, Section
from project3_rag_docs.ingestion.parsing.tables import grid, span, table_lines

_HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)
_NOTES = {"footnoteReference": "footnote", "endnoteReference": "endnote", "commentReference": "comment"}
_CHINESE_DIGITS = "零一二三四五六七八九"
_ROMAN = {"m": 1000, "cm": 900, "d": 500, "cd": 400, "c": 100, "xc": 90, "l": 50, "xl": 40, "x": 10, "ix": 9, "v": 5}
_ROMAN |= {"iv": 4, "i": 1}


class DocxLoader(Loader):
    """Reads Word documents."""

    kind = "Word document"

    def _sections(self) -> Iterator[Section]:
        package = Package(self._path, self._limits, self.kind)
        main = package.main("word/document.xml")
        body = package.required_tree(main)
        self._styles = _Styles(package, main)
        self._numbers = _Numbers(package, main)
        self._notes = {kind: _notes(package, main, kind) for kind in _NOTES.values()}
        self._reader = TextReader(package, main)
        self._outline = Outline()
        for block in _blocks(body):
            yield from self._block(block)
        yield from self._outline.finish()
        margins = {
            f"[{name.capitalize()}: {text}]": None
            for name in ("header", "footer")
            for part, tree in package.trees(main, name)
            if re.search(r"[^\W\d_]", text := " ".join(TextReader(package, part).whole_text(tree).split()))
        }
        yield Section("\n".join(margins))

    def _block(self, block: Element) -> Iterator[Section]:
        if local_name(block) == "tbl":
            yield from self._outline.add_table(self._table(block))
            yield from self._attached(block)
            return
        text = self._reader.text(block)
        style = self._styles.style_of(block)
        number = self._numbers.next_label(block, style) if text else ""
        text = f"{number} {text}" if number else text
        level = self._styles.level(block, style)
        if level is None or not text:
            yield from self._outline.add_line(text)
        else:
            yield from self._outline.start_section(level, text)
        yield from self._attached(block)

    def _attached(self, block: Element) -> Iterator[Section]:
        """Add the text boxes, charts, notes and comments of a block after it."""
        notes = [
            f"[{_NOTES[local_name(mark)].capitalize()}: {text}]"
            for mark in block.iter(*(f"{{*}}{name}" for name in _NOTES))
            if (text := self._notes[_NOTES[local_name(mark)]].get(attribute(mark, "id") or ""))
        ]
        for line in [*self._reader.pop_attached(), *notes]:
            yield from self._outline.add_line(line)

    def _table(self, table: Element) -> Iterator[str]:
        rows: list[list[tuple[str, int, str]]] = []
        headers = 0
        for row in _children(table, "tr"):
            marks = {local_name(mark) for mark in row.iterfind("{*}trPr/*") if is_on(mark, "val", default=True)}
            if "del" not in marks:
                headers += "tblHeader" in marks and headers == len(rows)
                rows.append([self._cell(cell) for cell in _children(row, "tc")])
        yield from table_lines(grid(rows), headers or None, sheet=False)

    def _cell(self, cell: Element) -> tuple[str, int, str]:
        columns, merge = 1, "restart"
        for mark in cell.iterfind("{*}tcPr/*"):
            if local_name(mark) == "gridSpan":
                columns = span(attribute(mark, "val"))
            elif local_name(mark) == "vMerge":
                merge = attribute(mark, "val") or "continue"
        return self._reader.text(cell), columns, merge


def _children(element: Element, name: str) -> Iterator[Element]:
    """Yield the rows or cells of a table, including those in content controls and tracked changes."""
    for child in element.iterchildren("*"):
        if local_name(child) == name:
            yield child
        elif local_name(child) in {"sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag"}:
            yield from _children(child, name)


def _blocks(element: Element) -> Iterator[Element]:
    """Yield the paragraphs, tables and equations in order, including those in content controls."""
    for child in element.iterchildren("*"):
        if local_name(child) in {"p", "tbl", "oMathPara", "oMath"}:
            yield child
        elif local_name(child) not in {"del", "moveFrom", "sectPr", "sdtPr", "Fallback"}:
            yield from _blocks(child)


def _notes(package: Package, main: str, kind: str) -> dict[str, str]:
    found = {}
    for part, tree in package.trees(main, f"{kind}s"):
        reader = TextReader(package, part)
        for note in tree.iterchildren(f"{{*}}{kind}"):
            found[attribute(note, "id") or ""] = " ".join(reader.whole_text(note).split())
    return found


class _Styles:
    """The paragraph styles: which are headings, and which are numbered."""

    def __init__(self, package: Package, main: str) -> None:
        trees = [tree for _, tree in package.trees(main, "styles")]
        self._styles = {attribute(style, "styleId"): style for tree in trees for style in tree.iter("{*}style")}

    def style_of(self, paragraph: Element) -> list[Element]:
        """Return the style of a paragraph and those that it is based on."""
        style = self._styles.get(_value(paragraph, "pPr/pStyle"))
        found: list[Element] = []
        while style is not None and style not in found:
            found.append(style)
            style = self._styles.get(_value(style, "basedOn"))
        return found

    def level(self, paragraph: Element, styles: list[Element]) -> int | None:
        """Return the level of a heading: 0 for the title, from 1 for others; None for text."""
        for style in styles:
            name = _value(style, "name") or ""
            if found := _HEADING.fullmatch(name):
                return int(found[1])
            if name.lower() == "title":
                return 0
        levels = (_value(element, "pPr/outlineLvl") for element in [paragraph, *styles])
        outline = next((int(level) for level in levels if level), 9)
        return outline + 1 if outline < 9 else None


def _value(element: Element, path: str) -> str | None:
    found = element.find("/".join(f"{{*}}{name}" for name in path.split("/")))
    return None if found is None else attribute(found, "val")


class _Numbers:
    """The numbers that Word gives to paragraphs, such as clauses, and does not store in the text."""

    def __init__(self, package: Package, main: str) -> None:
        trees = [tree for _, tree in package.trees(main, "numbering")]
        self._lists = {attribute(of, "numId"): of for tree in trees for of in tree.iterchildren("{*}num")}
        self._formats = {attribute(of, "abstractNumId"): of for tree in trees for of in tree.iter("{*}abstractNum")}
        self._counts: dict[str | None, Counter[int]] = {}
        self._started: set[str | None] = set()

    def next_label(self, paragraph: Element, styles: list[Element]) -> str:
        """Count a paragraph, and return its number; an empty string if it has none."""
        with suppress(ValueError):
            numbered = [element for element in [paragraph, *styles] if element.find("{*}pPr/{*}numPr") is not None]
            chosen = next((of for of in numbered if _value(of, "pPr/numPr/numId")), None)
            number = None if chosen is None else self._lists.get(_value(chosen, "pPr/numPr/numId"))
            if number is not None:
                levels = (_value(element, "pPr/numPr/ilvl") for element in numbered)
                return self._label(number, int(next(filter(None, levels), 0)), styles)
        return ""

    def _label(self, number: Element, level: int, styles: list[Element]) -> str:
        key = _value(number, "abstractNumId")
        levels = self._levels(number, key)
        for at, of in levels.items():  # a level can name the style that it numbers
            if styles and _value(of, "pStyle") == attribute(styles[0], "styleId"):
                level = at
        if level not in levels:
            return ""
        counts = self._count(number, key, level, levels)
        form = _value(levels[level], "numFmt") or "decimal"
        if form in {"bullet", "none"}:
            return ""
        legal = any(is_on(mark, "val", default=True) for mark in levels[level].iterchildren("{*}isLgl"))

        def label(found: re.Match[str]) -> str:
            at = int(found[1]) - 1
            of = "decimal" if legal or at not in levels else _value(levels[at], "numFmt") or "decimal"
            return _formatted(counts[at], of)

        return re.sub(r"%([1-9])", label, _value(levels[level], "lvlText") or "").strip()

    def _count(self, number: Element, key: str | None, level: int, levels: dict[int, Element]) -> Counter[int]:
        """Count a paragraph, and return the numbers of its level and those above it."""
        counts = self._counts.setdefault(key, Counter())
        starts = {at: _value(of, "start") for at, of in levels.items()}
        for override in number.iterchildren("{*}lvlOverride"):
            at = int(attribute(override, "ilvl") or 0)
            if start := _value(override, "startOverride"):
                starts[at] = start
                if attribute(number, "numId") not in self._started:
                    counts.clear()
        self._started.add(attribute(number, "numId"))
        for deeper in [at for at in counts if at > level]:
            del counts[deeper]
        for at in range(level + 1):
            if at not in counts:
                counts[at] = int(starts.get(at) or 1)
            elif at == level:
                counts[at] += 1
        return counts

    def _levels(self, number: Element, key: str | None) -> dict[int, Element]:
        abstract = self._formats.get(key)
        if abstract is not None and (linked := _value(abstract, "numStyleLink")):
            abstract = next((of for of in self._formats.values() if _value(of, "styleLink") == linked), abstract)
        levels = () if abstract is None else abstract.iterchildren("{*}lvl")
        own = number.iterfind("{*}lvlOverride/{*}lvl")
        return {int(attribute(of, "ilvl") or 0): of for of in chain(levels, own)}


def _formatted(number: int, form: str) -> str:
    """Return a number in one of Word's formats."""
    if form in {"lowerLetter", "upperLetter"}:
        text = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
    elif form in {"lowerRoman", "upperRoman"}:
        text, rest = "", number
        for letters, value in _ROMAN.items():
            text, rest = text + letters * (rest // value), rest % value
    elif re.match(r"chinese|taiwanese|japanese|ideographDigital", form) and 0 <= number < 100:
        tens, ones = divmod(number, 10)
        ten = ("十" if tens == 1 else _CHINESE_DIGITS[tens] + "十") if tens else ""
        text = ten + (_CHINESE_DIGITS[ones] if ones or not tens else "")
    elif form.startswith("decimalEnclosedCircle") and 0 < number <= 20:
        text = chr(0x2460 + number - 1)
    else:
        text = f"{number:02}" if form == "decimalZero" else str(number)
    return text.upper() if form.startswith("upper") else text
