"""Print a difference to the terminal: a summary on one screen, followed by the details."""

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from learn.chapters import ChapterDifference, Step, load
from learn.definitions import compare_definitions
from learn.differences import Difference, NewFile, grouped_files, grouped_operations
from learn.language import Language, load_words
from learn.painter import Painter, coloured
from learn.summaries import in_language

WIDTH = 100
SUMMARY_LINES = 50
_LABEL = 17  # columns
_NO_BREAK = "\0"
_MAX_GROUP_LINES = 2  # in the summary
_BOLD, _DIM, _RED = "1", "2", "31"


def summary(found: Difference, painter: Painter, language: Language = "en") -> list[str]:
    """Return the summary of a difference: at most `SUMMARY_LINES` lines of `WIDTH` columns."""
    words, earlier, later = load_words("terminal")[language], found.earlier.stage, found.later.stage
    title = later.title_zh if language == "zh" else later.title
    more = words["more"]
    lines = [painter.paint(words["title"].format(earlier.number, later.number, title, later.package), _BOLD)]
    lines += [painter.heading(words["operations"], len(found.operations))]
    groups = grouped_operations(found.operations)
    single = [names[0] for names in groups.values() if len(names) == 1]
    for path, names in [(path, names) for path, names in groups.items() if len(names) > 1]:
        lines += _group(path, [name.replace(f" {path}/", " …/") for name in names], more)
    lines += _group(words["single"], single, more) if single else []
    if found.newly_authenticated:
        prefixes = ", ".join(grouped_operations(found.newly_authenticated))
        lines += _group(
            words["authenticated"], [words["earlier"].format(len(found.newly_authenticated), prefixes)], more
        )
    lines += [painter.heading(words["settings"], len(found.settings))]
    required = [name for name, setting in found.settings.items() if setting.default is None]
    lines += _group(words["required"], required, more) if required else []
    optional = [name for name in found.settings if name not in required]
    lines += _group(words["optional"], optional, more)
    lines += [painter.heading(words["tables"], sum(found.adds_table(table) for table in found.tables))]
    tables = [f"{table} ({len(columns)})" for table, columns in found.tables.items()]
    lines += _group(words["table"], tables, more, max_lines=3)
    lines += [painter.heading(words["packages"], len(found.packages))]
    lines += _group(words["package"], found.packages, more, max_lines=3)
    lines += [painter.heading(words["shared"], len(found.shared_modules))]
    lines += _group(words["module"], [path.removeprefix("shared/") for path in found.shared_modules], more)
    lines += [painter.heading(words["processes"], len(found.processes) + len(found.services))]
    for name, summary_ in found.processes.items():
        lines += _group(name, [in_language("processes", name, summary_, language)], more)
    for name, service in found.services.items():
        lines += _group(name, [in_language("services", name, service, language)], more)
    lines += [painter.heading(words["files"], len(found.new_files))]
    lines += _group(words["changed"], found.changed_files, more)
    folders = grouped_files(found.new_files).items()
    sizes = [
        words["folder"].format(len(files), folder or "./", sum(file.lines for file in files))
        for folder, files in folders
    ]
    lines += _group(words["lines"], sizes, more, max_lines=3)
    if found.removed:
        lines += [painter.paint(words["removed"], _RED), *_group("", found.removed, more, max_lines=8)]
    return lines


def _group(label: str, items: Sequence[str], more: str, max_lines: int = _MAX_GROUP_LINES) -> list[str]:
    """Return items beside a label, on a few lines; the last tells how many items were left out.

    Args:
        more: The words for that, with the number as `{0}`.
    """
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in label)  # two columns each
    shown = list(items)
    while True:
        rest = more.format(len(items) - len(shown)) if len(shown) < len(items) else ""
        text = ", ".join(_in_one_line(item) for item in shown) + rest
        lines = textwrap.wrap(
            text,
            WIDTH,
            initial_indent=f"  {label:<{_LABEL - wide}} ",
            subsequent_indent=" " * (_LABEL + 3),
            break_long_words=False,
            break_on_hyphens=False,
        )
        if len(lines) <= max_lines or len(shown) <= 1:
            return [line.replace(_NO_BREAK, " ") for line in lines]
        shown.pop()


def _in_one_line(item: str) -> str:
    return item.replace(" ", _NO_BREAK) if len(item) < WIDTH // 2 else item


def details(found: Difference, painter: Painter, language: Language = "en") -> Iterator[str]:
    """Yield the lines below the summary: every item with its own summary, and the diffs of the files."""
    words = load_words("terminal")[language]
    yield painter.heading(words["operations"])
    yield from _table(
        [
            (name, in_language("operations", name, operation.summary, language))
            for name, operation in found.operations.items()
        ],
        painter,
    )
    yield painter.heading(words["settings"])
    yield from _table(
        [
            (_assignment(name, setting.default), in_language("settings", name, setting.summary, language))
            for name, setting in found.settings.items()
        ],
        painter,
    )
    for name, (before, after) in found.changed_settings.items():
        yield f"  {name}: {before} -> {after}"
    yield painter.heading(words["columns"])
    for table, columns in found.tables.items():
        yield f"  {table}{'' if found.adds_table(table) else words['new_columns']}"
        yield from _table(list(columns.items()), painter, indent="    ")
    yield painter.heading(words["shared"])
    yield from _table(
        [(path, in_language("shared", path, text, language)) for path, text in found.shared_modules.items()], painter
    )
    yield painter.heading(words["new"])
    yield from _table(_described(found.new_files, language), painter)
    yield painter.heading(words["both"])
    for path in found.changed_files:
        yield ""
        yield from (coloured(line, painter) for line in unified(found, path))


def steps(found: Difference, painter: Painter, language: Language) -> Iterator[str]:
    """Yield the ten steps in which a stage is read, or the names of its chapters if it has several."""
    words = load_words("differences")[language]
    chapters = load().of_project(found.later.stage.number)
    for chapter in chapters:
        title = chapter.title.in_language(language)
        if len(chapters) == 1:
            yield painter.heading(words["ten_steps"])
            yield from _steps(chapter.steps(language), painter)
        else:
            slug = f"{found.earlier.stage.number}-{found.later.stage.number}"
            yield f"{chapter.number} {title}: `make diff-{slug} CHAPTER={chapter.name}`"


def _steps(steps_: Sequence[Step], painter: Painter) -> Iterator[str]:
    for number, step in enumerate(steps_, start=1):
        yield f"  {number:>2}. {painter.paint(step.place, _BOLD)}"
        yield from textwrap.wrap(step.note, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def chapter_lines(part: ChapterDifference, painter: Painter, language: Language) -> Iterator[str]:
    """Yield the lines of one chapter: its steps, and what its files add."""
    words, chapter = load_words("differences")[language], part.chapter
    yield painter.paint(
        words["chapter_title"].format(chapter.project, chapter.number, chapter.title.in_language(language)), _BOLD
    )
    yield words["chapter_run"].format(chapter.run_command)
    yield painter.heading(words["ten_steps"])
    yield from _steps(chapter.steps(language), painter)
    yield painter.heading(words["operations"], len(part.operations))
    rows = [(name, in_language("operations", name, summary_, language)) for name, summary_ in part.operations]
    yield from _table(rows, painter)
    yield painter.heading(words["shared"].replace("`", ""), len(part.shared_modules))
    rows = [(name, in_language("shared", name, summary_, language)) for name, summary_ in part.shared_modules]
    yield from _table(rows, painter)
    yield painter.heading(words["new"], len(part.files))
    yield from _table(_described(part.files, language), painter)
    if part.following:
        command = f"make diff-{chapter.project - 1}-{chapter.project} CHAPTER={part.following.name}"
        yield words["chapter_next"].format(command)


def _described(files: Sequence[NewFile], language: Language) -> Sequence[tuple[str, str]]:
    """Return new files with their lines and, in English, the first line of their docstrings."""
    return [(f"{file.path} ({file.lines})", file.summary if language == "en" else "") for file in files]


def unified(found: Difference, path: str) -> Iterator[str]:
    """Yield the diff of a file in both stages: the definitions that the later one replaces, extends or adds."""
    compared = compare_definitions(path, found.earlier.files[path], found.later.files[path])
    if compared:
        yield f"--- {found.earlier.stage.package}/{path}"
        yield f"+++ {found.later.stage.package}/{path}"
    for definition in compared:
        yield from definition.unified()


def _assignment(name: str, default: str | None) -> str:
    return name if default is None else f"{name}={textwrap.shorten(default, 40, placeholder='…')}"


def _table(rows: Sequence[tuple[str, str]], painter: Painter, indent: str = "  ") -> Iterator[str]:
    width = min(44, max((len(name) for name, _ in rows), default=0))
    for name, summary_ in rows:
        yield f"{indent}{name:<{width}}  {painter.paint(summary_, _DIM)}".rstrip()
