"""MkDocs hook: generate pages and expand directives while the site is built.

- `{{ code path:name }}` on a line of its own becomes the cited code (`learn.citations`)
- `{{ try 2.3 }}` becomes a question's command, its output and the tests that show it (`learn.questions`)
- `{{ decisions }}` becomes the list of decisions
- `stages/` has each stage's README, `reference/` each stage's API

A broken citation is a warning, so the strict build fails. Run `python -m mkdocs` in the repository's folder, so that it
finds this package.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.pages import Page

from learn import questions, reference
from learn.citations import ROOT, CitationError, resolve
from learn.language import Language, load_words
from learn.stages import STAGES

log = get_plugin_logger(__name__)

_PACKAGES = {number: stage.package for number, stage in STAGES.items()}
_DIRECTIVE = re.compile(r"^\{\{ (\w+) (\S+) \}\}$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_WORDS = load_words("questions")
_SUFFIXES: Mapping[Language, str] = {"en": "", "zh": ".zh"}
_question_map: list[questions.QuestionMap] = []


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Load the questions, and build the navigation from the pages that exist."""
    _question_map[:] = [questions.load()]
    docs = Path(config.docs_dir)

    def pages(folder: str) -> list[str]:
        found = sorted((docs / folder).glob("*.md"), key=lambda page: page.stem)
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
        "glossary.md",
        {"Stages": [f"stages/stage-{number}.md" for number in _PACKAGES]},
        {"Differences": ["differences/index.md", *pages("differences")]},
        "architecture.md",
        {"API reference": [f"reference/stage-{number}.md" for number in _PACKAGES]},
        {"Operations": ["operations.md", *operations]},
        {"Decisions": ["decisions/index.md", *pages("decisions")]},
    ]
    config.nav = nav
    return config


_PAGES = {
    "index.md",
    "start.md",
    "plan.md",
    "from-express.md",
    "glossary.md",
    "architecture.md",
    "operations.md",
}  # the others are about operations


def on_pre_build(config: MkDocsConfig) -> None:
    """Write the generated pages before MkDocs collects the files."""
    docs = Path(config.docs_dir)
    for number, package in _PACKAGES.items():
        for suffix, readme in (("", "README.md"), (".zh", "README.zh-CN.md")):
            text = (ROOT / package / readme).read_text(encoding="utf-8")
            _write(docs / "stages" / f"stage-{number}{suffix}.md", _readme(text, package))
        for language, suffix in _SUFFIXES.items():
            _write(docs / "reference" / f"stage-{number}{suffix}.md", reference.page(STAGES[number], language))


def _write(page: Path, text: str) -> None:
    page.parent.mkdir(exist_ok=True)
    if not page.is_file() or page.read_text(encoding="utf-8") != text:  # `make docs-serve` watches them
        page.write_text(text, encoding="utf-8")


def _readme(text: str, package: str) -> str:
    """Turn a README into a page of the site: links point to pages, or become plain text if there is no page."""

    def rewrite(match: re.Match[str]) -> str:
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

    return _LINK.sub(rewrite, text)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Expand the directives of a page."""
    language: Language = "zh" if page.file.src_uri.endswith(".zh.md") else "en"

    def expand(match: re.Match[str]) -> str:
        kind, argument = match.groups()
        try:
            match kind:
                case "code":
                    return _code(argument)
                case "try":
                    return _try(_question_map[0], _question_map[0].question_by_id(argument), _WORDS[language])
                case "decisions":
                    return _decisions()
        except CitationError as error:
            log.warning("%s: %s", page.file.src_uri, error)
            return ""
        log.warning("%s: %s is not a directive", page.file.src_uri, match[0])
        return ""

    return _DIRECTIVE.sub(expand, markdown)


def _decisions() -> str:
    """Return a list of links to the decisions, by title."""
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


def _try(the_map: questions.QuestionMap, question: questions.Question, words: Mapping[str, str]) -> str:
    lines = [f"**{words['try']}**", ""]
    if question.needs:
        kind = "before" if question.needs in the_map.before else "needs"
        lines += [words[kind].format(command=f"make run-{question.needs}"), ""]
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
