"""Print a difference to the terminal: a summary on one screen, followed by the details."""

import difflib
import textwrap
from collections.abc import Iterator, Sequence

from learn.differences import Difference, grouped_files, grouped_operations
from learn.painter import Painter, coloured
from learn.steps import STEPS, StepDifference

WIDTH = 100
SUMMARY_LINES = 50
_LABEL = 17  # columns
_NO_BREAK = "\0"
_MAX_GROUP_LINES = 2  # in the summary
_BOLD, _DIM, _RED = "1", "2", "31"


def summary(found: Difference, painter: Painter) -> list[str]:
    """Return the summary of a difference: at most `SUMMARY_LINES` lines of `WIDTH` columns."""
    earlier, later = found.earlier.stage, found.later.stage
    lines = [painter.paint(f"Stage {earlier.number} -> {later.number}: + {later.title} ({later.package})", _BOLD)]
    lines += [painter.heading("Operations", len(found.operations))]
    for path, names in grouped_operations(found.operations).items():
        lines += _group(path, [name.replace(f" {path}/", " …/") for name in names])
    if found.newly_authenticated:
        groups = ", ".join(grouped_operations(found.newly_authenticated))
        lines += _group(
            "now authenticated", [f"{len(found.newly_authenticated)} operations of earlier stages: {groups}"]
        )
    lines += [painter.heading("Settings", len(found.settings))]
    required = [name for name, setting in found.settings.items() if setting.default is None]
    lines += _group("required", required) if required else []
    optional = [name for name in found.settings if name not in required]
    lines += _group("with defaults", optional, max_lines=4)
    lines += [painter.heading("Tables", sum(found.adds_table(table) for table in found.tables))]
    lines += _group("tables", [f"{table} ({len(columns)})" for table, columns in found.tables.items()], max_lines=3)
    lines += [painter.heading("Packages", len(found.packages))]
    lines += _group("packages", found.packages, max_lines=3)
    lines += [painter.heading("Modules of shared used for the first time", len(found.shared_modules))]
    lines += _group("modules", [path.removeprefix("shared/") for path in found.shared_modules])
    lines += [painter.heading("Processes and services", len(found.processes) + len(found.services))]
    for name, summary_ in found.processes.items():
        lines += _group(name, [summary_])
    for name, service in found.services.items():
        lines += _group(name, [service])
    lines += [painter.heading("Files", len(found.new_files))]
    lines += _group("changed", found.changed_files)
    folders = grouped_files(found.new_files).items()
    sizes = [f"{len(files)} in {folder or './'} ({sum(file.lines for file in files):,})" for folder, files in folders]
    lines += _group("new (their lines)", sizes, max_lines=4)
    if found.removed:
        lines += [painter.paint("Removed", _RED), *_group("", found.removed, max_lines=8)]
    return lines


def _group(label: str, items: Sequence[str], max_lines: int = _MAX_GROUP_LINES) -> list[str]:
    """Return items beside a label, on a few lines; the last tells how many items were left out."""
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
        if len(lines) <= max_lines or len(shown) <= 1:
            return [line.replace(_NO_BREAK, " ") for line in lines]
        shown.pop()


def _in_one_line(item: str) -> str:
    return item.replace(" ", _NO_BREAK) if len(item) < WIDTH // 2 else item


def details(found: Difference, painter: Painter) -> Iterator[str]:
    """Yield the lines below the summary: every item with its own summary, and the unified diffs of the files."""
    yield painter.heading("Operations")
    yield from _table([(name, operation.summary) for name, operation in found.operations.items()], painter)
    yield painter.heading("Settings")
    yield from _table(
        [(_assignment(name, setting.default), setting.summary) for name, setting in found.settings.items()], painter
    )
    for name, (before, after) in found.changed_settings.items():
        yield f"  {name}: {before} -> {after}"
    yield painter.heading("Tables and columns")
    for table, columns in found.tables.items():
        yield f"  {table}{'' if found.adds_table(table) else ' (new columns)'}"
        yield from _table(list(columns.items()), painter, indent="    ")
    yield painter.heading("Modules of shared used for the first time")
    yield from _table(list(found.shared_modules.items()), painter)
    yield painter.heading("New files")
    yield from _table([(f"{file.path} ({file.lines})", file.summary) for file in found.new_files], painter)
    yield painter.heading("Files that both stages have")
    for path in found.changed_files:
        yield ""
        yield from (coloured(line, painter) for line in unified(found, path))


def step_lines(part: StepDifference, painter: Painter) -> Iterator[str]:
    """Yield the lines of one step of stage 4."""
    step = part.step
    yield painter.paint(
        f"Stage 4, step {part.number} of {len(STEPS)}: {step.title} ({', '.join(step.packages)})", _BOLD
    )
    yield painter.heading("Operations", len(part.operations))
    yield from _table(part.operations, painter)
    yield painter.heading("Modules of shared used for the first time", len(part.shared_modules))
    yield from _table(part.shared_modules, painter)
    yield painter.heading("Files", len(part.files))
    yield from _table([(f"{file.path} ({file.lines})", file.summary) for file in part.files], painter)
    following = list(STEPS)[part.number : part.number + 1]
    yield f"Next: `make diff-3-4 STEP={following[0]}`" if following else "Settings and tables: `make diff-3-4`"


def unified(found: Difference, path: str) -> Iterator[str]:
    """Yield the unified diff of a file that both stages have."""
    return difflib.unified_diff(
        found.earlier.files[path].splitlines(),
        found.later.files[path].splitlines(),
        f"{found.earlier.stage.package}/{path}",
        f"{found.later.stage.package}/{path}",
        lineterm="",
    )


def _assignment(name: str, default: str | None) -> str:
    return name if default is None else f"{name}={textwrap.shorten(default, 40, placeholder='…')}"


def _table(rows: Sequence[tuple[str, str]], painter: Painter, indent: str = "  ") -> Iterator[str]:
    width = min(44, max((len(name) for name, _ in rows), default=0))
    for name, summary_ in rows:
        yield f"{indent}{name:<{width}}  {painter.paint(summary_, _DIM)}".rstrip()
