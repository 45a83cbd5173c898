"""The process that recognises text: it draws pages of a PDF, and writes the text of each as a line of JSON."""

import json
import math
import os
import resource
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pypdfium2

from project3_rag_docs.ingestion.parsing.layout import Cell, Line, arranged

_LONGER_SIDE = 2300  # pixels of a drawn page: about 200 dpi for A4
_LONGEST_EDGE_RATIO = 8  # of a box, to count for the slope of the page
_NICENESS = 10  # answers go first

Box = Sequence[Sequence[float]]


def main() -> None:
    """Recognise the pages that the arguments name: path, numbers and limits."""
    path, pages, limits = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
    threading.Thread(target=_exit_with_service, daemon=True).start()
    os.nice(_NICENESS)
    seconds = math.ceil(limits["seconds"] * (len(pages) + 1))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (limits["memory_bytes"], limits["memory_bytes"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with (
        os.fdopen(os.dup(1), "w", encoding="utf-8") as answers,
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
    ):
        os.dup2(nowhere.fileno(), 1)  # libraries print to it
        for text in recognised_pages(path, pages):
            answers.write(json.dumps(text) + "\n")
            answers.flush()


def _exit_with_service() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def recognised_pages(path: str, pages: Iterable[int]) -> Iterator[str]:
    """Yield the text on each of these pages of a PDF."""
    from rapidocr import RapidOCR  # noqa: PLC0415  of the extra `ocr`

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    engine = RapidOCR(params={"Global.log_level": "critical", "Global.use_cls": False, **threads})
    with pypdfium2.PdfDocument(path) as pdf:
        for number in pages:
            page = pdf[number - 1]
            picture = page.render(scale=_LONGER_SIDE / max(page.get_size())).to_numpy()
            found: Any = engine(picture)
            boxes = [] if found.boxes is None else found.boxes.tolist()
            lines = lines_of(list(zip(boxes, found.txts or (), strict=True)))
            yield "\n".join(line for line, _ in arranged(lines))
            page.close()


def lines_of(boxes: Sequence[tuple[Box, str]]) -> list[Line]:
    """Return the lines that boxes of text form, from top to bottom. The slope of the page is taken out first."""
    slopes = [
        math.atan2(right[1] - left[1], right[0] - left[0])
        for (left, right, low, _), _ in boxes
        if right[0] - left[0] > _LONGEST_EDGE_RATIO * abs(low[1] - right[1])
    ]
    slope = median(slopes) if slopes else 0.0
    placed = sorted((_placed(box, slope, text) for box, text in boxes), key=lambda of: of[0])
    rows: list[list[tuple[float, float, Cell]]] = []
    for middle, height, cell in placed:
        if rows and abs(middle - rows[-1][-1][0]) < 0.5 * min(height, rows[-1][-1][1]):
            rows[-1].append((middle, height, cell))
        else:
            rows.append([(middle, height, cell)])
    return [_line(row) for row in rows]


def _placed(box: Box, slope: float, text: str) -> tuple[float, float, Cell]:
    """Return the middle and the height of a box on the straightened page, with its text."""
    points = [(x * math.cos(slope) + y * math.sin(slope), y * math.cos(slope) - x * math.sin(slope)) for x, y in box]
    across, down = [x for x, _ in points], [y for _, y in points]
    return (min(down) + max(down)) / 2, max(down) - min(down), Cell(text, min(across), max(across))


def _line(row: list[tuple[float, float, Cell]]) -> Line:
    cells = sorted((cell for _, _, cell in row), key=lambda cell: cell.left)
    middle, height, _ = row[0]
    return Line(" ".join(cell.text for cell in cells), cells, -middle, height)


if __name__ == "__main__":
    main()
