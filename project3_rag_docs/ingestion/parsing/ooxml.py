"""The package of an Office file, read as Office does: by the relationships of its parts, not by their names.

A part that is missing, or that does not matter for the text, is no reason to refuse the file. Names of elements are
compared without their namespace, since "Strict" files have other ones.
"""

import posixpath
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from lxml import etree

from project3_rag_docs.ingestion.parsing import ParseLimits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.tables import table_lines

_MAX_PARTS = 10_000
_MAX_DIGITS = 16
_SYMBOLS = {  # of the fonts Symbol and Wingdings
    **dict(zip(range(0xF061, 0xF07B), "αβχδεφγηιϕκλμνοπθρστυϖωξψζ", strict=True)),
    **dict(zip(range(0xF041, 0xF05B), "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ", strict=True)),
    0xF0A3: "≤",
    0xF0A5: "∞",
    0xF0AB: "↔",
    0xF0AC: "←",
    0xF0AD: "↑",
    0xF0AE: "→",
    0xF0AF: "↓",
    0xF0B0: "°",
    0xF0B1: "±",
    0xF0B3: "≥",
    0xF0B4: "×",
    0xF0B6: "∂",
    0xF0B7: "•",
    0xF0B8: "÷",
    0xF0B9: "≠",
    0xF0BA: "≡",
    0xF0BB: "≈",
    0xF0BC: "…",
    0xF0CE: "∈",
    0xF0D1: "∇",
    0xF0D5: "∏",
    0xF0D6: "√",
    0xF0DE: "⇒",
    0xF0E5: "∑",
    0xF0F2: "∫",
    0xF0FC: "✓",
    0xF0FE: "☑",
    0xF0A8: "☐",
    0xF0A7: "▪",
    0xF0D8: "➢",
    0xF0E0: "→",
}
_MATH = {
    "f": "{num}/{den}",
    "sSup": "{e}^{sup}",
    "sSub": "{e}_{sub}",
    "sSubSup": "{e}_{sub}^{sup}",
    "rad": "√{e}",
    "d": "({e})",
    "nary": "{chr}_{sub}^{sup} {e}",
    "func": "{fName} {e}",
    "limLow": "{e}_{lim}",
    "limUpp": "{e}^{lim}",
    "eqArr": "{e}",
    "sPre": "_{sub}^{sup}{e}",
}
_PIECES = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "\N{HYPHEN-MINUS}"}
_SKIPPED = {  # properties, deleted or moved text, the pronunciation of ruby text, and duplicates for older programs
    *("pPr", "rPr", "tblPr", "tcPr", "trPr", "sdtPr", "sdtEndPr", "bodyPr", "lstStyle", "del", "moveFrom", "rt"),
    *("Fallback", "nvSpPr", "spPr", "style", "ctrlPr", "instrText", "delText", "annotation", "rubyPr", "fPr", "dPr"),
}

Element = Any


def local_name(element: Element) -> str:
    """Return the name of an element without its namespace; an empty string for a comment."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def attribute(element: Element, name: str) -> str | None:
    """Return an attribute by its local name, in any namespace."""
    return next((str(value) for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)


def is_on(element: Element, name: str, *, default: bool = False) -> bool:
    """Return the value of a boolean attribute."""
    value = attribute(element, name)
    return default if value is None else value not in {"0", "false", "off"}


class Package:
    """The parts of an Office file."""

    def __init__(self, path: Path, limits: ParseLimits, kind: str) -> None:
        self._archive = zipfile.ZipFile(path)
        parts = self._archive.infolist()
        if len(parts) > _MAX_PARTS:
            raise UnreadableDocument(f"The {kind} has more than {_MAX_PARTS:,} parts.")
        if sum(part.file_size for part in parts) > limits.unpacked_bytes:
            raise UnreadableDocument(
                f"The {kind} is larger than {limits.unpacked_bytes // 2**20:,} MiB when it is unpacked."
            )
        if any(part.flag_bits & 1 for part in parts):
            raise UnreadableDocument(f"The {kind} is protected by a password. Save it without one.")
        self._parts = {part.filename.replace("\\", "/").strip("/").lower(): part for part in parts}

    def main(self, usual: str) -> str:
        """Return the name of the main part: the one that the package names, or the usual one."""
        named = [target for kind, target in self.related("").values() if kind == "officeDocument"]
        return next((name for name in named if name.lower() in self._parts), usual)

    def related(self, part: str) -> dict[str, tuple[str, str]]:
        """Return the kind and the target of each relationship of a part, by id. External targets are left out."""
        folder, name = posixpath.split(part)
        tree = self.tree(posixpath.join(folder, "_rels", f"{name}.rels"))
        return {
            str(rel.get("Id")): (
                posixpath.basename(rel.get("Type", "")),
                posixpath.normpath(posixpath.join("/", folder, unquote(rel.get("Target", "")))).strip("/"),
            )
            for rel in (tree if tree is not None else ())
            if isinstance(rel.tag, str) and rel.get("TargetMode") != "External"
        }

    def trees(self, part: str, kind: str) -> Iterator[tuple[str, Element]]:
        """Yield the name and the tree of each related part of a kind."""
        for of_kind, target in self.related(part).values():
            if of_kind == kind and (tree := self.tree(target)) is not None:
                yield target, tree

    def tree(self, name: str) -> Element | None:
        """Return the tree of a part; None if there is none, or if it is damaged."""
        try:
            return self.required_tree(name)
        except (KeyError, zipfile.BadZipFile, etree.XMLSyntaxError) as error:
            if "memory" in str(error).lower():
                raise
            return None

    def required_tree(self, name: str) -> Element:
        """Return the tree of a part.

        Raises:
            KeyError: if there is none.
            XMLSyntaxError: if it is damaged.
        """
        parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, huge_tree=True)
        with self.open(name) as stream:
            return etree.parse(stream, parser).getroot()

    def open(self, name: str) -> IO[bytes]:
        """Open a part."""
        return self._archive.open(self._parts[name.lower()])


class TextReader:
    """Reads the text of elements of one part, and what hangs on it: text boxes, notes, comments, charts, diagrams.

    Attributes:
        attached: Lines that belong after the paragraph that was read last.
    """

    def __init__(self, package: Package, part: str) -> None:
        self.attached: list[str] = []
        self._package = package
        self._related = package.related(part)

    def text(self, element: Element) -> str:
        """Return the text of an element."""
        return "".join(self._pieces(element)).strip()

    def whole_text(self, element: Element) -> str:
        """Return the text of an element with what hangs on it."""
        return "\n".join([self.text(element), *self.pop_attached()])

    def pop_attached(self) -> list[str]:
        """Return the attached lines that are not blank, and forget them."""
        lines, self.attached = [line for line in self.attached if line.strip()], []
        return lines

    def _pieces(self, element: Element) -> Iterator[str]:
        for child in element.iterchildren("*"):
            yield from self._piece(child, local_name(child))

    def _piece(self, element: Element, name: str) -> Iterator[str]:
        if name == "t":
            yield element.text or ""
        elif name == "sym":
            code = int(attribute(element, "char") or "0", 16)
            yield _SYMBOLS.get(code, "" if 0xE000 <= code < 0xF900 else chr(code))
        elif name in _MATH and element.tag.endswith("/math}" + name):
            yield self._formula(element, name)
        elif name == "txbxContent":
            self.attached += [self.text(paragraph) for paragraph in element.iterchildren("{*}p", "{*}tbl", "{*}sdt")]
        elif name == "docPr":
            if picture := " ".join(filter(None, (element.get("title"), element.get("descr")))):
                self.attached.append(f"[Picture: {picture}]")
        elif name in {"chart", "relIds"}:
            self.attached += self._drawing(attribute(element, "id") or attribute(element, "dm"))
        elif name not in _SKIPPED:
            yield _PIECES.get(name, "\n" if name == "p" and element.getprevious() is not None else "")
            yield from self._pieces(element)

    def _formula(self, element: Element, name: str) -> str:
        values = {"chr": "∫", "num": "", "den": "", "e": "", "sup": "", "sub": "", "fName": "", "lim": ""}
        for child in element.iterchildren("*"):
            key, text = local_name(child), self.text(child)
            if key == "naryPr":
                values["chr"] = next((attribute(of, "val") or "" for of in child.iterchildren("{*}chr")), "∫")
            elif key in values:
                compound = name != "d" and key in {"num", "den", "sup", "sub"} and not re.fullmatch(r"[\w.,]*", text)
                values[key] += (", " if values[key] else "") + (f"({text})" if compound else text)
        return re.sub(r"[_^](?=[_^ ]|$)", "", _MATH[name].format(**values)) if values["e"] or name != "sSup" else ""

    def _drawing(self, relation: str | None) -> Iterator[str]:
        kind, target = self._related.get(relation or "", ("", ""))
        tree = self._package.tree(target) if kind in {"chart", "chartEx", "diagramData"} else None
        if tree is not None:
            yield from drawing_lines(tree)


def drawing_lines(tree: Element) -> Iterator[str]:
    """Yield the texts of a chart, a diagram or a drawing, and the values of a chart as a table."""
    for paragraph in tree.iter("{*}p"):
        yield "".join(run.text or "" for run in paragraph.iter("{*}t"))
    columns = [["", *_points(next(tree.iter("{*}cat", "{*}xVal"), None))]]
    columns += [
        [" ".join(_points(series.find("{*}tx"))), *_points(next(series.iter("{*}val", "{*}yVal"), None))]
        for series in tree.iter("{*}ser")
    ]
    height = max(map(len, columns))
    if height > 1:
        rows = zip(*[column + [""] * (height - len(column)) for column in columns], strict=True)
        yield from table_lines(rows, 1)


def _points(element: Element | None) -> list[str]:
    return [] if element is None else [_rounded(value.text or "") for value in element.iter("{*}v")]


def _rounded(text: str) -> str:
    """Return a value of a chart without the error of its binary form, such as 4.4 for 4.4000000000000004."""
    with suppress(ValueError):
        return f"{float(text):.15g}" if len(text) > _MAX_DIGITS else text
    return text
