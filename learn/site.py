"""MkDocs hook: generate pages, and give the committed ones the form of the site, while the site is built.

- What a page includes (`learn.included`) is taken from its source again; cited code gets a title instead of a link
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

from learn import chapters, included, questions, reference
from learn.citations import ROOT, CitationError
from learn.language import Language, Translated
from learn.stages import STAGES

log = get_plugin_logger(__name__)

_PACKAGES = {number: stage.package for number, stage in STAGES.items()}
_DIRECTIVE = re.compile(r"^\{\{ (\w+) (\S+) \}\}$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_REFERENCE = Translated(en="The API of this project", zh="这个项目的接口参考")
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
        "path.md",
        "plan.md",
        {"Questions": ["questions/index.md", *(f"questions/part-{part}.md" for part in questions.PLAN)]},
        "from-express.md",
        "glossary.md",
        {"Projects": [f"stages/stage-{number}.md" for number in _PACKAGES]},
        {"Chapters": ["chapters/index.md", *(f"chapters/{chapter.name}.md" for chapter in chapters.load().chapter)]},
        {"Differences": ["differences/index.md", *pages("differences")]},
        "architecture.md",
        "xray.md",
        "run-view.md",
        "improve.md",
        {"API reference": [f"reference/stage-{number}.md" for number in _PACKAGES]},
        {"Operations": ["operations.md", *operations]},
        {"Decisions": ["decisions/index.md", *pages("decisions")]},
    ]
    config.nav = nav
    return config


_PAGES = {
    "index.md",
    "start.md",
    "path.md",
    "plan.md",
    "from-express.md",
    "glossary.md",
    "architecture.md",
    "xray.md",
    "run-view.md",
    "improve.md",
    "operations.md",
}  # the others are about operations


def on_pre_build(config: MkDocsConfig) -> None:
    """Write the generated pages before MkDocs collects the files."""
    docs = Path(config.docs_dir)
    for number, package in _PACKAGES.items():
        for suffix, readme in (("", "README.md"), (".zh", "README.zh-CN.md")):
            text = (ROOT / package / readme).read_text(encoding="utf-8")
            link = f"[{_REFERENCE.in_language('zh' if suffix else 'en')}](../reference/stage-{number}.md)"
            _write(docs / "stages" / f"stage-{number}{suffix}.md", f"{_readme(text, package)}\n{link}\n")
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
        if "://" in target or target.startswith("#"):
            return match[0]
        path = os.path.normpath(Path(package) / target.partition("#")[0])
        if picture:
            return f"![{label}](../{path.removeprefix('docs/')})"
        for number, other in _PACKAGES.items():
            if path in {other, f"{other}/README.md", f"{other}/README.zh-CN.md"}:
                return f"[{label}](stage-{number}.md)" if other != package else label
        if path.startswith("docs/") and path.endswith(".md"):
            return f"[{label}](../{path.removeprefix('docs/').replace('.zh.md', '.md')})"
        return label if label.startswith("`") else f"`{path}`"

    return _LINK.sub(rewrite, text)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Give a page the form of the site."""
    path = included.DOCS / page.file.src_uri
    language = included.language_of(path)

    def expand(match: re.Match[str]) -> str:
        kind, argument = match.groups()
        try:
            match kind:
                case "code":
                    return included.titled_code(argument)
                case "try":
                    return included.attempt(_question_map[0], _question_map[0].question_by_id(argument), language)
                case "map":
                    return included.for_site(included.course_map(path), path)
                case "decisions":
                    return included.decisions()
        except CitationError as error:
            log.warning("%s: %s", page.file.src_uri, error)
            return ""
        log.warning("%s: %s is not a directive", page.file.src_uri, match[0])
        return ""

    return _DIRECTIVE.sub(expand, included.for_site(markdown, path))
