"""MkDocs' hook: what the site holds besides the pages under `docs/`, made from the code while it is built.

- `{{ code path:name }}` on a line of its own becomes the code that is cited (`learn.citations`)
- `{{ try 2.3 }}` becomes the command of a question, what it prints, and the tests that show it (`learn.questions`)
- `stages/`: each stage's README
- `reference/`: each stage's API, from its OpenAPI document

A citation that leads nowhere is a warning, so the strict build fails on it. Run by `python -m mkdocs`, which finds this
package.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.pages import Page

from learn import questions, reference
from learn.citations import ROOT, NotThere, resolve
from learn.stages import STAGES

log = get_plugin_logger(__name__)

_PACKAGES = {number: stage.package for number, stage in STAGES.items()}
_DIRECTIVE = re.compile(r"^\{\{ (\w+) (\S+) \}\}$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_WORDS = {
    "en": {
        "try": "See it for yourself",
        "needs": "`{command}` runs in another terminal.",
        "before": "`{command}` runs in another terminal, and this was typed in yours ({once}).",
        "once": "once",
        "prints": "It prints, about:",
        "not_run": "No test runs this command: {reason}.",
        "tests": "Tests that show it",
        "run": "Run them",
    },
    "zh": {
        "try": "动手验证",
        "needs": "另一个终端里已运行 `{command}`。",
        "before": "另一个终端里已运行 `{command}`，并在当前终端{once}执行过下面的准备命令。",
        "once": "",
        "prints": "输出大致如下：",
        "not_run": "这条命令没有测试来执行：{reason}。",
        "tests": "对应的测试",
        "run": "运行它们",
    },
}
_the_map: list[questions.Map] = []


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Read the questions, and put the navigation together: some of its pages may be there or not."""
    _the_map[:] = [questions.load()]
    docs = Path(config.docs_dir)

    def there(*names: str) -> list[str]:
        return [name for name in names if (docs / name).is_file()]

    def pages(folder: str) -> list[str]:
        found = sorted((docs / folder).glob("*.md"))
        return [f"{folder}/{page.name}" for page in found if page.suffixes[-2:-1] != [".zh"] and page.stem != "index"]

    operations = [page.name for page in sorted(docs.glob("*.md")) if page.name not in _PAGES]
    operations = [name for name in operations if not name.endswith(".zh.md")]
    operations += pages("operations") if (docs / "operations").is_dir() else []
    nav: list[Any] = [
        {"Overview": "index.md"},
        "start.md",
        "plan.md",
        {"Questions": ["questions/index.md", *(f"questions/part-{part}.md" for part in questions.PLAN)]},
        "from-express.md",
        {"Stages": [f"stages/stage-{number}.md" for number in _PACKAGES]},
    ]
    if (docs / "differences").is_dir():
        nav.append({"Differences": [*there("differences/index.md"), *pages("differences")]})
    nav += [
        {"API reference": [f"reference/stage-{number}.md" for number in _PACKAGES]},
        {"Operations": ["operations.md", *operations]},
        {"Decisions": ["decisions/index.md", *pages("decisions")]},
    ]
    config.nav = nav
    return config


_PAGES = {"index.md", "start.md", "plan.md", "from-express.md", "operations.md"}


def on_pre_build(config: MkDocsConfig) -> None:
    """Write the pages that are made, before MkDocs looks what there is."""
    docs = Path(config.docs_dir)
    for number, package in _PACKAGES.items():
        for suffix, readme in (("", "README.md"), (".zh", "README.zh-CN.md")):
            text = (ROOT / package / readme).read_text(encoding="utf-8")
            _write(docs / "stages" / f"stage-{number}{suffix}.md", _readme(text, package))
        for language, suffix in (("en", ""), ("zh", ".zh")):
            _write(docs / "reference" / f"stage-{number}{suffix}.md", reference.page(STAGES[number], language))


def _write(page: Path, text: str) -> None:
    page.parent.mkdir(exist_ok=True)
    if not page.is_file() or page.read_text(encoding="utf-8") != text:  # `make docs-serve` watches them
        page.write_text(text, encoding="utf-8")


def _readme(text: str, package: str) -> str:
    """Make a README a page of the site: its links lead to pages, or are only names where there is none."""

    def rewritten(match: re.Match[str]) -> str:
        picture, label, target = match.groups()
        if picture or "://" in target or target.startswith("#"):
            return match[0]
        path = os.path.normpath(Path(package) / target.partition("#")[0])
        for number, other in _PACKAGES.items():
            if path in {other, f"{other}/README.md", f"{other}/README.zh-CN.md"}:
                return f"[{label}](stage-{number}.md)" if other != package else label
        if path.startswith("docs/") and path.endswith(".md"):
            return f"[{label}](../{path.removeprefix('docs/').replace('.zh.md', '.md')})"
        return label if label.startswith("`") else f"`{path}`"

    return _LINK.sub(rewritten, text)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put in what the page includes."""
    language = "zh" if page.file.src_uri.endswith(".zh.md") else "en"

    def included(match: re.Match[str]) -> str:
        kind, what = match.groups()
        try:
            match kind:
                case "code":
                    return _code(what)
                case "try":
                    return _try(_the_map[0], _the_map[0].of(what), _WORDS[language])
                case "decisions":
                    return _decisions()
        except NotThere as error:
            log.warning("%s: %s", page.file.src_uri, error)
            return ""
        log.warning("%s: %s is nothing that a page can include", page.file.src_uri, match[0])
        return ""

    return _DIRECTIVE.sub(included, markdown)


def _decisions() -> str:
    """List the decisions by their titles."""
    pages = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    titles = {page.name: page.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for page in pages}
    return "\n".join(f"- [{title}]({name})" for name, title in titles.items())


def _code(citation: str) -> str:
    source = resolve(citation)
    return _fenced(source.text, source.language, title=f"{source.path} · {source.name}")


def _fenced(text: str, language: str, title: str = "") -> str:
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`{3,}", text))])
    options = f' title="{title}"' if title else ""
    return f"{fence}{language}{options}\n{text}\n{fence}\n"


def _try(the_map: questions.Map, question: questions.Question, words: dict[str, str]) -> str:
    lines = [f"**{words['try']}**", ""]
    if question.needs:
        kind = "before" if question.needs in the_map.before else "needs"
        lines += [words[kind].format(command=f"make run-{question.needs}", once=words["once"]), ""]
        if kind == "before":
            lines += [_fenced(the_map.before[question.needs].strip(), "sh")]
    lines += [_fenced(question.command.strip(), "sh"), words["prints"], "", _fenced(question.output.strip(), "text")]
    if question.not_run:
        lines += [words["not_run"].format(reason=question.not_run), ""]
    lines += [f'??? note "{words["tests"]}"', ""]
    lines += [f"    - `{test}`" for test in question.tests]
    run = ".venv/bin/python -m pytest " + " \\\n    ".join(question.tests)
    lines += ["", *(f"    {line}" for line in _fenced(run, "sh").splitlines()), ""]
    return "\n".join(lines)
