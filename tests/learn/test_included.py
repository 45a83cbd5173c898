"""The pages as a code host shows them: with the cited code, without markup of the site, and without dead links."""

import re
import subprocess
from pathlib import Path

import pytest

from learn import exercises, included, practice, questions
from learn.citations import ROOT, resolve

PAGES = [
    *included.pages(),
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("project*/README*.md")),
    *sorted(ROOT.glob("bench/*.md")),
]
EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# Markup that only the site's Markdown extensions render.
MARKUP = re.compile(r"\{\{|\{ ?[.#:]|^(?:\?\?\?|!!!|===) ", re.MULTILINE)
# The index of generated pages, which states that only the site has them.
OF_GENERATED_PAGES = {"docs/differences/index.md", "docs/differences/index.zh.md"}


@pytest.fixture(scope="module")
def committed() -> set[str]:
    """The files and folders of the repository."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    files = {line for line in listed.stdout.decode().splitlines() if (ROOT / line).exists()}
    return files | {parent.as_posix() for file in files for parent in Path(file).parents}


def prose(page: Path) -> str:
    """Return a page without its blocks and spans of code."""
    return re.sub(r"`[^`\n]*`", "", included.FENCED.sub("", page.read_text("utf-8")))


def anchors(page: Path) -> set[str]:
    """Return the anchors that a code host gives to the headings of a page, and those that it sets itself."""
    text = page.read_text("utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([\w-]+)">', text))


def test_included_code_is_that_of_the_source() -> None:
    outdated = [page.relative_to(ROOT).as_posix() for page, _ in included.changed()]
    assert outdated == [], "run `make docs-code`"


def test_changed_code_is_written_again() -> None:
    page = included.DOCS / "questions" / "part-1.md"
    source = resolve("project1_qa_api/main.py:ROUTERS").text

    written = included.expand("Before.\n\n<!-- code project1_qa_api/main.py:ROUTERS -->\nold\n<!-- /code -->\n", page)

    link = "[`project1_qa_api/main.py`](../../project1_qa_api/main.py), `ROUTERS`:"
    assert written == (
        "Before.\n\n<!-- code project1_qa_api/main.py:ROUTERS -->\n\n"
        f"{link}\n\n```python\n{source}\n```\n\n<!-- /code -->\n"
    )
    assert included.expand(written, page) == written
    assert questions.collapse(written) == "Before.\n\n{{ code project1_qa_api/main.py:ROUTERS }}\n"


def test_page_of_the_site_links_to_the_sites_pages() -> None:
    page = included.DOCS / "questions" / "part-1.zh.md"
    text = (
        '<a id="q1-1"></a>\n\n## 1.1 X\n\n'
        "[a](../plan.zh.md#x) [b](../../project2_user_mgmt/README.zh-CN.md) [`c`](../../Makefile)"
        "\n\n```md\n[a](../plan.zh.md)\n```\n"
    )
    assert included.for_site(text, page) == (
        "## 1.1 X {#q1-1}\n\n[a](../plan.md#x) [b](../stages/stage-2.md) `c`\n\n```md\n[a](../plan.zh.md)\n```\n"
    )


def test_map_has_every_exercise_once() -> None:
    table = included.course_map(included.DOCS / "plan.md")
    for one in exercises.load():
        if not one.name[0].isdigit():
            assert table.count(f"`{one.name}`") == 1
    for function in practice.exercises():
        assert table.count(f"`{function.name}` ") == len({item[1] for item in function.items})


@EACH
def test_page_has_no_markup_of_the_site(page: Path) -> None:
    assert MARKUP.findall(prose(page)) == []


@EACH
def test_links_lead_to_committed_files(page: Path, committed: set[str]) -> None:
    broken = []
    for target in LINK.findall(prose(page)):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / path).resolve() if path else page
        inside = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else ""
        if inside not in committed or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    if page.relative_to(ROOT).as_posix() not in OF_GENERATED_PAGES:
        assert broken == []


@EACH
def test_chinese_page_links_to_chinese_pages(page: Path, committed: set[str]) -> None:
    if included.language_of(page) == "en":
        return
    english = []
    for target in LINK.findall(prose(page)):
        linked = (page.parent / target.partition("#")[0]).resolve()
        in_chinese = {linked.with_suffix(suffix) for suffix in (".zh.md", ".zh-CN.md")} - {page}
        if linked.suffix == ".md" and {path.relative_to(ROOT).as_posix() for path in in_chinese} & committed:
            english.append(target)
    assert english == []
