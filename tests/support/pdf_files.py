"""PDF files written byte by byte, with fonts, forms and drawing orders that libraries do not write."""

from collections.abc import Sequence
from pathlib import Path

HELVETICA = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
_DESCRIPTOR = (
    "/FontDescriptor<</Type/FontDescriptor/FontName/{}/Flags 4/Ascent 800/Descent -200/ItalicAngle 0/CapHeight 700"
    "/StemV 80/FontBBox[0 -200 1000 800]>>"
)


def write(path: Path, pages: Sequence[str], font: str = HELVETICA, *, annotations: str = "", catalog: str = "") -> Path:
    """Write a PDF.

    Args:
        pages: The content of each page, whose font is `/F1`.
        font: The font's dictionary.
        annotations: Dictionaries of the annotations of each page.
        catalog: Further entries of the catalog.
    """
    objects = ["", "", font]
    for content in pages:
        objects.append(f"<</Length {len(content)}>>stream\n{content}\nendstream")
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>"
            f"/Contents {len(objects)} 0 R/Annots[{annotations}]>>"
        )
    kids = " ".join(f"{number} 0 R" for number in range(5, 5 + 2 * len(pages), 2))
    objects[0] = f"<</Type/Catalog/Pages 2 0 R{catalog}>>"
    objects[1] = f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>"
    written, offsets = b"%PDF-1.7\n", []
    for number, source in enumerate(objects, start=1):
        offsets.append(len(written))
        written += f"{number} 0 obj\n{source}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(written)}\n%%EOF"
    path.write_bytes(written + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode())
    return path


def composite_font(encoding: str, collection: str) -> str:
    """Return a font without ToUnicode, whose codes mean characters of a collection of Adobe's."""
    return (
        f"<</Type/Font/Subtype/Type0/BaseFont/Any-{encoding}/Encoding/{encoding}/DescendantFonts[<</Type/Font"
        f"/Subtype/CIDFontType0/BaseFont/Any/DW 1000/CIDSystemInfo<</Registry(Adobe)/Ordering({collection})"
        f"/Supplement 2>>{_DESCRIPTOR.format('Any')}>>]>>"
    )


def font_of_glyphs(names: Sequence[str]) -> str:
    """Return a font whose glyphs have names that mean nothing, from code 33 on."""
    widths = " ".join(["500"] * len(names))
    return (
        f"<</Type/Font/Subtype/Type1/BaseFont/ABCDEF+Own/FirstChar 33/LastChar {32 + len(names)}/Widths[{widths}]"
        f"/Encoding<</Type/Encoding/Differences[33{''.join('/' + name for name in names)}]>>"
        f"{_DESCRIPTOR.format('ABCDEF+Own')}>>"
    )


def codes(data: bytes) -> str:
    """Return the content of a page that shows codes of its font."""
    return f"BT /F1 12 Tf 50 700 Td <{data.hex()}> Tj ET"


def texts(placed: Sequence[tuple[float, float, str]], size: int = 9) -> str:
    """Return the content of a page with texts at positions, in the order in which they are drawn."""
    return " ".join(f"BT /F1 {size} Tf {x} {y} Td ({text}) Tj ET" for x, y, text in placed)


def field(name: str, value: str, kind: str = "Tx") -> str:
    """Return a form field without an appearance."""
    shown = f"/{value}/AS/{value}" if kind == "Btn" else f"({value})"
    return f"<</Type/Annot/Subtype/Widget/FT/{kind}/T({name})/V{shown}/Rect[100 95 250 115]/F 4>>"
