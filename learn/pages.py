"""Write the differences as pages: Markdown in both languages for the docs site, and side-by-side HTML.

Git ignores them. `docs/differences/index.md` is written by hand and links to them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from learn.chapters import Chapter, ChapterDifference, load, part_of
from learn.differences import Difference, NewFile, compare, grouped_files, grouped_operations
from learn.facts import Facts
from learn.language import Language, load_words
from learn.side_by_side import html_page
from learn.stages import ROOT
from learn.summaries import in_language
from learn.terminal import unified

FOLDER = ROOT / "docs" / "differences"

_WORDS = load_words("differences")
_ENGLISH = _WORDS["en"]


def compare_neighbours(facts: Sequence[Facts]) -> list[Difference]:
    """Compare each stage with the one after it."""
    return [compare(earlier, later) for earlier, later in pairwise(facts)]


def render(facts: Sequence[Facts]) -> dict[str, str]:
    """Return the text of every page, by file name."""
    found = compare_neighbours(facts)
    pages = {f"{difference.slug}-side-by-side.html": html_page(difference) for difference in found}
    parts = [part_of(difference, chapter) for difference in found for chapter in _chapters(difference)]
    for suffix, words in (("", _ENGLISH), (".zh", _WORDS["zh"])):
        for difference in found:
            pages[f"{difference.slug}{suffix}.md"] = "\n".join(_page(difference, words)) + "\n"
        for part in parts:
            pages[f"{_slug(part.chapter)}{suffix}.md"] = "\n".join(_chapter_page(part, words)) + "\n"
    return pages


def _chapters(found: Difference) -> Sequence[Chapter]:
    """Return the chapters of the later stage if it has several."""
    chapters = load().of_project(found.later.stage.number)
    return chapters if len(chapters) > 1 else []


def _language(words: Mapping[str, str]) -> Language:
    return "en" if words is _ENGLISH else "zh"


def write(facts: Sequence[Facts], folder: Path = FOLDER) -> list[Path]:
    """Write every page, and delete generated pages that no longer exist.

    Returns:
        The paths of the pages.
    """
    pages = {folder / name: text for name, text in render(facts).items()}
    folder.mkdir(parents=True, exist_ok=True)
    for path in set(folder.glob("*-to-*")) - pages.keys():
        path.unlink()
    for path, text in pages.items():
        if not path.is_file() or path.read_text("utf-8") != text:  # `make docs-serve` watches them
            path.write_text(text, "utf-8")
    return list(pages)


def _title(found: Difference, words: Mapping[str, str]) -> str:
    later = found.later.stage
    title = later.title if words is _ENGLISH else later.title_zh
    return words["title"].format(found.earlier.stage.number, later.number, title)


def _page(found: Difference, words: Mapping[str, str]) -> Iterator[str]:
    new_tables = sum(found.adds_table(table) for table in found.tables)
    counts = [len(found.operations), len(found.settings), new_tables, len(found.packages), len(found.new_files)]
    added = words["count"].format(*counts)
    yield f"# {_title(found, words)}\n"
    yield words["made"].format(found.earlier.stage.number, found.later.stage.number, added)
    yield words["beside"].format(f"{found.slug}-side-by-side.html") + "\n"
    if chapters := _chapters(found):
        yield f"## {words['steps']}\n"
        yield from (
            f"- {chapter.number} [{chapter.title.in_language(_language(words))}]({_slug(chapter)}.md)"
            for chapter in chapters
        )
        yield ""
    else:
        yield f"## {words['ten_steps']}\n"
        yield from _steps(load().of_project(found.later.stage.number)[0], words)
    yield from _operations(found, words)
    yield from _settings(found, words)
    yield f"## {words['tables']}\n"
    rows = [
        (f"`{table}`" + ("" if found.adds_table(table) else f" ({words['more']})"), _columns(columns))
        for table, columns in found.tables.items()
    ]
    yield from _table([words["table"], words["columns"]], rows, words)
    yield f"## {words['packages']}\n"
    yield ", ".join(f"`{name}`" for name in found.packages) + "\n"
    yield from _shared_modules(found.shared_modules.items(), words)
    yield f"## {words['processes']}\n"
    if found.processes:
        processes = [
            (f"`{found.later.stage.package}/{name}.py`", in_language("processes", name, does, _language(words)))
            for name, does in found.processes.items()
        ]
        yield from _table([words["module"], words["summary"]], processes, words)
    else:
        yield words["no_process"] + "\n"
    services = [
        (f"`{name}`", in_language("services", name, does, _language(words))) for name, does in found.services.items()
    ]
    yield from _table([words["service"], words["summary"]], services, words)
    yield from _files(found, words)


def _operations(found: Difference, words: Mapping[str, str]) -> Iterator[str]:
    yield f"## {words['operations']}\n"
    rows = [
        (f"`{name}`", in_language("operations", name, operation.summary, _language(words)))
        for name, operation in found.operations.items()
    ]
    yield from _table([words["operation"], words["summary"]], rows, words)
    if found.newly_authenticated:
        groups = grouped_operations(found.newly_authenticated).values()
        yield f"{words['authenticated']} ({len(found.newly_authenticated)}):\n"
        yield from (f"- {', '.join(f'`{name}`' for name in names)}" for names in groups)
        yield ""


def _settings(found: Difference, words: Mapping[str, str]) -> Iterator[str]:
    yield f"## {words['settings']}\n"
    rows = [
        (
            f"`{name}`",
            words["required"] if setting.default is None else _code(setting.default),
            in_language("settings", name, setting.summary, _language(words)),
        )
        for name, setting in found.settings.items()
    ]
    yield from _table([words["setting"], words["default"], words["summary"]], rows, words)
    changed = [f"`{name}`: `{before}` → `{after}`" for name, (before, after) in found.changed_settings.items()]
    yield f"{words['changed']}: {', '.join(changed) or words['none']}\n"


def _slug(chapter: Chapter) -> str:
    number = chapter.number.replace(".", "-")
    return f"{chapter.project - 1}-to-{chapter.project}-{number}-{chapter.name}"


def _steps(chapter: Chapter, words: Mapping[str, str]) -> Iterator[str]:
    steps = chapter.steps(_language(words))
    yield from (f"{number}. `{step.place}`: {step.note}" for number, step in enumerate(steps, start=1))
    yield ""


def _chapter_page(part: ChapterDifference, words: Mapping[str, str]) -> Iterator[str]:
    chapter, language = part.chapter, _language(words)
    title = chapter.title.in_language(language)
    yield f"# {words['chapter_title'].format(chapter.project, chapter.number, title)}\n"
    yield words["chapter_made"].format(title, chapter.name, f"{chapter.project - 1}-{chapter.project}") + "\n"
    yield f"## {words['ten_steps']}\n"
    yield from _steps(chapter, words)
    yield f"## {words['operations']}\n"
    rows = [(f"`{name}`", in_language("operations", name, summary, language)) for name, summary in part.operations]
    yield from _table([words["operation"], words["summary"]], rows, words)
    yield from _shared_modules(part.shared_modules, words)
    yield from _new_files(chapter.stage.package, part.files, words)


def _shared_modules(modules: Iterable[tuple[str, str]], words: Mapping[str, str]) -> Iterator[str]:
    yield f"## {words['shared']}\n"
    rows = [(f"`{path}`", in_language("shared", path, summary, _language(words))) for path, summary in modules]
    yield from _table([words["file"], words["summary"]], rows, words)


def _new_files(package: str, new_files: Sequence[NewFile], words: Mapping[str, str]) -> Iterator[str]:
    """Yield the new files by folder. In Chinese the folder is described, since docstrings are English."""
    yield f"## {words['new']}\n"
    for folder, files in grouped_files(new_files).items():
        yield f"### `{package}/{folder}`\n"
        if _language(words) == "en":
            rows = [[f"`{file.path.removeprefix(folder)}`", str(file.lines), file.summary] for file in files]
            yield from _table([words["file"], words["lines"], words["summary"]], rows, words)
            continue
        if described := in_language("folders", f"{package}/{folder}", "", "zh"):
            yield f"{described}\n"
        rows = [[f"`{file.path.removeprefix(folder)}`", str(file.lines)] for file in files]
        yield from _table([words["file"], words["lines"]], rows, words)


def _files(found: Difference, words: Mapping[str, str]) -> Iterator[str]:
    yield from _new_files(found.later.stage.package, found.new_files, words)
    yield f"## {words['both']}\n"
    for path in found.changed_files:
        yield f"### `{path}`\n"
        yield "````diff"
        yield from unified(found, path)
        yield "````\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: Mapping[str, str]) -> Iterator[str]:
    if not rows:
        yield f"{words['none']}\n"
        return
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---' for _ in heads)} |"
    for row in rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{' '.join(text.split())}`" if text.strip() else '`""`'


def _columns(columns: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
