"""A difference on a terminal: a summary on one screen, everything else below it."""

import difflib
import sys
import textwrap
from collections.abc import Iterator, Sequence

from learn.differences import Difference, grouped_files, grouped_operations

WIDTH = 100
SUMMARY_LINES = 50
_LABEL = 17  # columns
_NO_BREAK = "\0"
_MOST_LINES = 2  # of one group in the summary
_BOLD, _DIM, _RED, _GREEN, _CYAN = "1", "2", "31", "32", "36"


class Painter:
    """Colours text for a terminal, or leaves it as it is where it goes to a file.

    Args:
        colours: Whether to; if not said, where the output is a terminal.
    """

    def __init__(self, *, colours: bool | None = None) -> None:
        self._colours = sys.stdout.isatty() if colours is None else colours

    def paint(self, text: str, *codes: str) -> str:
        """Return a text in colours."""
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self._colours and text else text

    def heading(self, text: str, count: int | None = None) -> str:
        """Return a heading, with how many things are new."""
        return self.paint(text, _BOLD) + (self.paint(f"  +{count}", _GREEN) if count is not None else "")


def summary(found: Difference, painter: Painter) -> list[str]:
    """Return the lines of a difference's summary: at most `SUMMARY_LINES` of `WIDTH` columns."""
    earlier, later = found.earlier.stage, found.later.stage
    lines = [painter.paint(f"Stage {earlier.number} -> {later.number}: + {later.title} ({later.package})", _BOLD)]
    lines += [painter.heading("Operations", len(found.operations))]
    for path, names in grouped_operations(found.operations).items():
        lines += _group(path, [name.replace(f" {path}/", " …/") for name in names])
    if found.newly_locked:
        locked = ", ".join(grouped_operations(found.newly_locked))
        lines += _group("now locked", [f"{len(found.newly_locked)} operations of the stages before, under {locked}"])
    lines += [painter.heading("Settings", len(found.settings))]
    required = [name for name, setting in found.settings.items() if setting.default is None]
    lines += _group("must be given", required) if required else []
    optional = [name for name in found.settings if name not in required]
    lines += _group("have defaults", optional, most=4)
    lines += [painter.heading("Tables", sum(found.adds_table(table) for table in found.tables))]
    lines += _group("tables", [f"{table} ({len(columns)})" for table, columns in found.tables.items()], most=3)
    lines += [painter.heading("Packages", len(found.packages))]
    lines += _group("packages", found.packages, most=3)
    lines += [painter.heading("Processes and services", len(found.processes) + len(found.services))]
    for name, does in found.processes.items():
        lines += _group(name, [does])
    for name, does in found.services.items():
        lines += _group(name, [does])
    lines += [painter.heading("Files", len(found.new_files))]
    lines += _group("in both, changed", found.changed_files)
    folders = grouped_files(found.new_files).items()
    sizes = [f"{len(files)} in {folder or './'} ({sum(file.lines for file in files):,})" for folder, files in folders]
    lines += _group("new (their lines)", sizes, most=4)
    if found.removed:
        lines += [painter.paint("Taken away", _RED), *_group("", found.removed, most=8)]
    return lines


def _group(label: str, items: Sequence[str], most: int = _MOST_LINES) -> list[str]:
    """Return items beside a label, in a few lines; the last says how many more there are."""
    shown = list(items)
    while True:
        more = f", … {len(items) - len(shown)} more" if len(shown) < len(items) else ""
        text = ", ".join(_in_one_line(item) for item in shown) + more
        lines = textwrap.wrap(
            text,
            WIDTH,
            initial_indent=f"  {label:<{_LABEL}} ",
            subsequent_indent=" " * (_LABEL + 3),
            break_long_words=False,
            break_on_hyphens=False,
        )
        if len(lines) <= most or len(shown) <= 1:
            return [line.replace(_NO_BREAK, " ") for line in lines]
        shown.pop()


def _in_one_line(item: str) -> str:
    return item.replace(" ", _NO_BREAK) if len(item) < WIDTH // 2 else item


def details(found: Difference, painter: Painter) -> Iterator[str]:
    """Yield the lines below the summary: everything with what it says of itself, and the files' differences."""
    yield painter.heading("Operations")
    yield from _table([(name, operation.does) for name, operation in found.operations.items()], painter)
    yield painter.heading("Settings")
    yield from _table(
        [(_assignment(name, setting.default), setting.does) for name, setting in found.settings.items()], painter
    )
    for name, (before, after) in found.changed_settings.items():
        yield f"  {name}: {before} -> {after}"
    yield painter.heading("Tables and columns")
    for table, columns in found.tables.items():
        yield f"  {table}{'' if found.adds_table(table) else ' (more columns)'}"
        yield from _table(list(columns.items()), painter, indent="    ")
    yield painter.heading("New files")
    yield from _table([(f"{file.path} ({file.lines})", file.does) for file in found.new_files], painter)
    yield painter.heading("Files that both stages have")
    for path in found.changed_files:
        yield ""
        yield from (coloured(line, painter) for line in unified(found, path))


def unified(found: Difference, path: str) -> Iterator[str]:
    """Yield the lines of the unified difference of a file that both stages have."""
    return difflib.unified_diff(
        found.earlier.files[path].splitlines(),
        found.later.files[path].splitlines(),
        f"{found.earlier.stage.package}/{path}",
        f"{found.later.stage.package}/{path}",
        lineterm="",
    )


def coloured(line: str, painter: Painter) -> str:
    """Return a line of a unified difference in its colour."""
    code = _BOLD if line.startswith(("+++", "---")) else {"+": _GREEN, "-": _RED, "@": _CYAN}.get(line[:1])
    return painter.paint(line, code) if code else line


def _assignment(name: str, default: str | None) -> str:
    return name if default is None else f"{name}={textwrap.shorten(default, 40, placeholder='…')}"


def _table(rows: Sequence[tuple[str, str]], painter: Painter, indent: str = "  ") -> Iterator[str]:
    width = min(44, max((len(name) for name, _ in rows), default=0))
    for name, does in rows:
        yield f"{indent}{name:<{width}}  {painter.paint(does, _DIM)}".rstrip()
