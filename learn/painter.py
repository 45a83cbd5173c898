"""Colour text for the terminal."""

import sys

_BOLD, _RED, _GREEN, _CYAN = "1", "31", "32", "36"


class Painter:
    """Colours text, by default only if the output is a terminal."""

    def __init__(self, *, colours: bool | None = None) -> None:
        self._colours = sys.stdout.isatty() if colours is None else colours

    def paint(self, text: str, *codes: str) -> str:
        """Return a text with ANSI codes around it."""
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self._colours and text else text

    def heading(self, text: str, count: int | None = None) -> str:
        """Return a heading, with the number of new items."""
        return self.paint(text, _BOLD) + (self.paint(f"  +{count}", _GREEN) if count is not None else "")


def coloured(line: str, painter: Painter) -> str:
    """Return a line of a unified diff in its colour."""
    code = _BOLD if line.startswith(("+++", "---")) else {"+": _GREEN, "-": _RED, "@": _CYAN}.get(line[:1])
    return painter.paint(line, code) if code else line
