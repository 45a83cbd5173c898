"""The loader of presentations: a section per slide, with its tables, charts, diagrams, notes and comments."""

from collections.abc import Iterator

from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.ooxml import Element, Package, TextReader, attribute, is_on, local_name
from project3_rag_docs.ingestion.parsing.sections import Section
from project3_rag_docs.ingestion.parsing.tables import grid, span, table_lines

_TITLES = {"title", "ctrTitle"}
_FURNITURE = {"sldNum", "dt", "ftr", "hdr", "sldImg"}


class PptxLoader(Loader):
    """Reads presentations."""

    kind = "presentation"

    def _sections(self) -> Iterator[Section]:
        package = Package(self._path, self._limits, self.kind)
        main = package.main("ppt/presentation.xml")
        targets = package.related(main)
        slides = package.required_tree(main).iterfind("{*}sldIdLst/{*}sldId")
        footers: dict[str, None] = {}
        for number, slide in enumerate(slides, start=1):
            relation = next(value for key, value in slide.attrib.items() if key.endswith("}id"))
            name = targets.get(relation, ("", ""))[1]
            if (tree := package.tree(name)) is not None:
                yield _slide(package, name, tree, number)
                footers.update(_footers(TextReader(package, name), tree))
        yield Section("\n".join(f"[Footer: {text}]" for text in footers))


def _slide(package: Package, name: str, tree: Element, number: int) -> Section:
    reader = TextReader(package, name)
    shapes = list(_shapes(tree.find("{*}cSld/{*}spTree")))
    title = next((shape for shape in shapes if _placeholder(shape) in _TITLES), None)
    heading = " ".join(reader.text(title).split()) if title is not None else None
    lines = [line for shape in shapes if shape is not title for line in _lines(reader, shape)]
    lines += reader.pop_attached()
    for part, notes in package.trees(name, "notesSlide"):
        body = TextReader(package, part)
        lines += [body.text(shape) for shape in _shapes(notes) if _placeholder(shape) not in _FURNITURE]
    for part, comments in package.trees(name, "comments"):
        texts = [of.text or "" for of in comments.iter("{*}text")] or [TextReader(package, part).text(comments)]
        lines += [f"[Comment: {text}]" for text in texts if text]
    return Section("\n".join(filter(str.strip, lines)) or heading or "", page=number, heading=heading)


def _footers(reader: TextReader, tree: Element) -> dict[str, None]:
    texts = (reader.text(of) for of in _shapes(tree.find("{*}cSld/{*}spTree")) if _placeholder(of) == "ftr")
    return dict.fromkeys(" ".join(text.split()) for text in texts if text)


def _shapes(element: Element | None) -> Iterator[Element]:
    """Yield the shapes, pictures and frames in order, including those in groups."""
    for child in () if element is None else element.iterchildren("*"):
        if local_name(child) in {"sp", "graphicFrame", "pic", "cxnSp"}:
            yield child
        elif local_name(child) != "Fallback":
            yield from _shapes(child)


def _placeholder(shape: Element) -> str | None:
    mark = next(shape.iter("{*}ph"), None)
    return None if mark is None else attribute(mark, "type")


def _lines(reader: TextReader, shape: Element) -> Iterator[str]:
    for properties in shape.iter("{*}cNvPr"):
        if local_name(shape) == "pic" and (picture := attribute(properties, "descr") or attribute(properties, "title")):
            yield f"[Picture: {picture}]"
    tables = list(shape.iter("{*}tbl"))
    for table in tables:
        rows = [[_cell(reader, cell) for cell in row.iterchildren("{*}tc")] for row in table.iterchildren("{*}tr")]
        merged = [[cell for cell in row if cell[1]] for row in rows]
        yield from table_lines(grid(merged), sheet=False)
    if not tables and _placeholder(shape) not in _FURNITURE:
        yield reader.text(shape)
        yield from reader.pop_attached()


def _cell(reader: TextReader, cell: Element) -> tuple[str, int, str]:
    if is_on(cell, "hMerge"):
        return "", 0, ""  # covered by the cell before it
    merge = "continue" if is_on(cell, "vMerge") else "restart"
    return reader.text(cell), span(attribute(cell, "gridSpan")), merge
