"""Write the differences as pages: Markdown in both languages for the docs site, and side-by-side HTML.

Git ignores them. `docs/differences/index.md` is written by hand and links to them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from learn.differences import Difference, NewFile, compare, grouped_files, grouped_operations
from learn.facts import Facts
from learn.language import load_words
from learn.side_by_side import html_page
from learn.stages import ROOT, STAGES
from learn.steps import STEPS, Step, StepDifference, part_of
from learn.terminal import unified

FOLDER = ROOT / "docs" / "differences"
STAGE_4 = "3-to-4"

_WORDS = load_words("differences")
_ENGLISH = _WORDS["en"]


def compare_neighbours(facts: Sequence[Facts]) -> list[Difference]:
    """Compare each stage with the one after it."""
    return [compare(earlier, later) for earlier, later in pairwise(facts)]


def render(facts: Sequence[Facts]) -> dict[str, str]:
    """Return the text of every page, by file name."""
    found = compare_neighbours(facts)
    pages = {f"{one.slug}-side-by-side.html": html_page(one) for one in found}
    steps = [part_of(one, step) for one in found if one.slug == STAGE_4 for step in STEPS.values()]
    for suffix, words in (("", _ENGLISH), (".zh", _WORDS["zh"])):
        for one in found:
            pages[f"{one.slug}{suffix}.md"] = "\n".join(_page(one, words)) + "\n"
        for part in steps:
            pages[f"{_step_slug(part.step)}{suffix}.md"] = "\n".join(_step_page(part, words)) + "\n"
    return pages


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
    if found.slug == STAGE_4:
        yield f"## {words['steps']}\n"
        yield from (
            f"{_step_number(step)}. [{_step_title(step, words)}]({_step_slug(step)}.md)" for step in STEPS.values()
        )
        yield ""
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
        processes = [(f"`{found.later.stage.package}/{name}.py`", does) for name, does in found.processes.items()]
        yield from _table([words["module"], words["summary"]], processes, words)
    else:
        yield words["no_process"] + "\n"
    services = [(f"`{name}`", does) for name, does in found.services.items()]
    yield from _table([words["service"], words["summary"]], services, words)
    yield from _files(found, words)


def _operations(found: Difference, words: Mapping[str, str]) -> Iterator[str]:
    yield f"## {words['operations']}\n"
    rows = [(f"`{name}`", operation.summary) for name, operation in found.operations.items()]
    yield from _table([words["operation"], words["summary"]], rows, words)
    if found.newly_authenticated:
        groups = grouped_operations(found.newly_authenticated).values()
        yield f"{words['authenticated']} ({len(found.newly_authenticated)}):\n"
        yield from (f"- {', '.join(f'`{name}`' for name in names)}" for names in groups)
        yield ""


def _settings(found: Difference, words: Mapping[str, str]) -> Iterator[str]:
    yield f"## {words['settings']}\n"
    rows = [
        (f"`{name}`", words["required"] if setting.default is None else _code(setting.default), setting.summary)
        for name, setting in found.settings.items()
    ]
    yield from _table([words["setting"], words["default"], words["summary"]], rows, words)
    changed = [f"`{name}`: `{before}` → `{after}`" for name, (before, after) in found.changed_settings.items()]
    yield f"{words['changed']}: {', '.join(changed) or words['none']}\n"


def _step_title(step: Step, words: Mapping[str, str]) -> str:
    return step.title if words is _ENGLISH else step.title_zh


def _step_number(step: Step) -> int:
    return list(STEPS.values()).index(step) + 1


def _step_slug(step: Step) -> str:
    return f"{STAGE_4}-{_step_number(step)}-{step.name}"


def _step_page(part: StepDifference, words: Mapping[str, str]) -> Iterator[str]:
    step = part.step
    yield f"# {words['step_title'].format(part.number, _step_title(step, words))}\n"
    yield words["step_made"].format(step.name) + "\n"
    yield f"## {words['operations']}\n"
    rows = [(f"`{name}`", summary) for name, summary in part.operations]
    yield from _table([words["operation"], words["summary"]], rows, words)
    yield from _shared_modules(part.shared_modules, words)
    yield from _new_files(STAGES[4].package, part.files, words)


def _shared_modules(modules: Iterable[tuple[str, str]], words: Mapping[str, str]) -> Iterator[str]:
    yield f"## {words['shared']}\n"
    rows = [(f"`{path}`", summary) for path, summary in modules]
    yield from _table([words["file"], words["summary"]], rows, words)


def _new_files(package: str, new_files: Sequence[NewFile], words: Mapping[str, str]) -> Iterator[str]:
    yield f"## {words['new']}\n"
    for folder, files in grouped_files(new_files).items():
        yield f"### `{package}/{folder}`\n"
        rows = [(f"`{file.path.removeprefix(folder)}`", str(file.lines), file.summary) for file in files]
        yield from _table([words["file"], words["lines"], words["summary"]], rows, words)


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
