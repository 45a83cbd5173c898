"""The differences as pages: Markdown for the docs site in both languages, and side by side as HTML for a browser.

Nothing in them changes but what is compared, so that a page that is committed can be held against the code.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from learn.differences import Difference, difference, grouped_files, grouped_operations
from learn.facts import Facts
from learn.side_by_side import html_page
from learn.stages import ROOT
from learn.terminal import unified

FOLDER = ROOT / "docs" / "differences"

_ENGLISH = {
    "title": "From stage {0} to stage {1}: {2}",
    "made": "`make diff-{0}-{1}` prints this page; `make diffs` writes it. Everything on it is read from the code.",
    "beside": "The files that both stages have, [side by side]({0}).",
    "operations": "Operations",
    "locked": "Operations of the stages before that now want a token or a key",
    "settings": "Settings",
    "changed": "Another default",
    "tables": "Tables and columns",
    "packages": "Packages",
    "processes": "Processes and services",
    "no_process": "It runs in one process, as the stage before.",
    "new": "New files",
    "both": "Files that both stages have",
    "table": "table",
    "columns": "columns",
    "operation": "operation",
    "does": "what it does",
    "setting": "setting",
    "default": "default",
    "required": "must be given",
    "file": "file",
    "lines": "lines",
    "service": "address",
    "module": "process",
    "none": "None.",
    "more": "more columns",
    "index": "What each stage adds",
    "intro": "A later stage imports the earlier ones and copies nothing, so its folder is all that it adds. Read these"
    " pages after a stage and before the next: first what it can do, then with what, then how its files differ.",
    "step": "step",
    "counts": "adds",
    "count": "{0} operations, {1} settings, {2} tables, {3} packages, {4} files",
    "beside_title": "side by side",
}
_CHINESE = {
    "title": "从第 {0} 阶段到第 {1} 阶段：{2}",
    "made": "`make diff-{0}-{1}` 在终端打印本页；`make diffs` 生成本页。所有内容都从代码中读出。",
    "beside": "两个阶段都有的文件：[并排对照]({0})。",
    "operations": "接口",
    "locked": "前面阶段的接口，现在需要令牌或密钥",
    "settings": "配置项",
    "changed": "默认值不同",
    "tables": "表与列",
    "packages": "依赖包",
    "processes": "进程与服务",
    "no_process": "与前一阶段一样，只有一个进程。",
    "new": "新文件",
    "both": "两个阶段都有的文件",
    "table": "表",
    "columns": "列",
    "operation": "接口",
    "does": "作用",
    "setting": "配置项",
    "default": "默认值",
    "required": "必须给出",
    "file": "文件",
    "lines": "行数",
    "service": "地址",
    "module": "进程",
    "none": "无。",
    "more": "新增的列",
    "index": "每个阶段增加了什么",
    "intro": "后面的阶段导入前面的阶段，不复制任何代码，所以一个阶段的文件夹就是它增加的全部内容。"
    "学完一个阶段、进入下一个之前读这些页面：先看它能做什么，再看它用什么做，最后看文件有何不同。",
    "step": "步骤",
    "counts": "增加",
    "count": "{0} 个接口、{1} 个配置项、{2} 个表、{3} 个包、{4} 个文件",
    "beside_title": "并排对照",
}
_LANGUAGES: Mapping[str, Mapping[str, str]] = {"": _ENGLISH, ".zh": _CHINESE}


def differences(facts: Sequence[Facts]) -> list[Difference]:
    """Compare each stage with the next."""
    return [difference(earlier, later) for earlier, later in pairwise(facts)]


def made(facts: Sequence[Facts]) -> dict[Path, str]:
    """Return the text of every page, by its path."""
    found = differences(facts)
    pages = {FOLDER / f"{one.slug}-side-by-side.html": html_page(one) for one in found}
    for suffix, words in _LANGUAGES.items():
        pages[FOLDER / f"index{suffix}.md"] = "\n".join(_index(found, words)) + "\n"
        for one in found:
            pages[FOLDER / f"{one.slug}{suffix}.md"] = "\n".join(_page(one, words)) + "\n"
    return pages


def write(facts: Sequence[Facts]) -> list[Path]:
    """Write every page, and take away those that are none any more.

    Returns:
        The paths, under the project's folder.
    """
    pages = made(facts)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in set(FOLDER.iterdir()) - pages.keys():
        path.unlink()
    for path, text in pages.items():
        path.write_text(text, "utf-8")
    return [path.relative_to(ROOT) for path in pages]


def _title(found: Difference, words: Mapping[str, str]) -> str:
    later = found.later.stage
    title = later.title if words is _ENGLISH else later.title_zh
    return words["title"].format(found.earlier.stage.number, later.number, title)


def _index(found: Sequence[Difference], words: Mapping[str, str]) -> Iterator[str]:
    yield f"# {words['index']}\n"
    yield f"{words['intro']}\n"
    yield f"| {words['step']} | {words['counts']} | |\n| --- | --- | --- |"
    for one in found:
        new_tables = sum(one.adds_table(table) for table in one.tables)
        counts = [len(one.operations), len(one.settings), new_tables, len(one.packages), len(one.new_files)]
        yield (
            f"| [{_title(one, words)}]({one.slug}.md) | {words['count'].format(*counts)} "
            f"| [{words['beside_title']}]({one.slug}-side-by-side.html) |"
        )


def _page(found: Difference, words: Mapping[str, str]) -> Iterator[str]:
    yield f"# {_title(found, words)}\n"
    yield words["made"].format(found.earlier.stage.number, found.later.stage.number)
    yield words["beside"].format(f"{found.slug}-side-by-side.html") + "\n"
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
    yield f"## {words['processes']}\n"
    if found.processes:
        processes = [(f"`{found.later.stage.package}/{name}.py`", does) for name, does in found.processes.items()]
        yield from _table([words["module"], words["does"]], processes, words)
    else:
        yield words["no_process"] + "\n"
    services = [(f"`{name}`", does) for name, does in found.services.items()]
    yield from _table([words["service"], words["does"]], services, words)
    yield from _files(found, words)


def _operations(found: Difference, words: Mapping[str, str]) -> Iterator[str]:
    yield f"## {words['operations']}\n"
    rows = [(f"`{name}`", operation.does) for name, operation in found.operations.items()]
    yield from _table([words["operation"], words["does"]], rows, words)
    if found.newly_locked:
        groups = grouped_operations(found.newly_locked).values()
        yield f"{words['locked']} ({len(found.newly_locked)}):\n"
        yield from (f"- {', '.join(f'`{name}`' for name in names)}" for names in groups)
        yield ""


def _settings(found: Difference, words: Mapping[str, str]) -> Iterator[str]:
    yield f"## {words['settings']}\n"
    rows = [
        (f"`{name}`", words["required"] if setting.default is None else _code(setting.default), setting.does)
        for name, setting in found.settings.items()
    ]
    yield from _table([words["setting"], words["default"], words["does"]], rows, words)
    changed = [f"`{name}`: `{before}` → `{after}`" for name, (before, after) in found.changed_settings.items()]
    yield f"{words['changed']}: {', '.join(changed) or words['none']}\n"


def _files(found: Difference, words: Mapping[str, str]) -> Iterator[str]:
    package = found.later.stage.package
    yield f"## {words['new']}\n"
    for folder, files in grouped_files(found.new_files).items():
        yield f"### `{package}/{folder}`\n"
        rows = [(f"`{file.path.removeprefix(folder)}`", str(file.lines), file.does) for file in files]
        yield from _table([words["file"], words["lines"], words["does"]], rows, words)
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
