"""The differences between stages, compared with the code, and the pages that are generated from them."""

import itertools
import re
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest

from learn import pages, terminal
from learn.chapters import load, part_of
from learn.definitions import compare_definitions
from learn.differences import Difference, compare
from learn.facts import Facts, Operation, Setting
from learn.language import Language
from learn.painter import Painter
from learn.stages import ROOT, CommandError
from learn.summaries import in_language

pytestmark = pytest.mark.slow  # it migrates a database of its own through all stages


def pair(facts: list[Facts], earlier: int) -> Difference:
    return compare(facts[earlier - 1], facts[earlier])


def test_pages_are_generated_from_the_code(facts: list[Facts], tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text("by hand")
    (tmp_path / "0-to-1.md").write_text("of a stage that is gone")

    paths = pages.write(facts, tmp_path)

    slugs = ["1-to-2", "2-to-3", "3-to-4"]
    chapters = [
        f"{chapter.project - 1}-to-{chapter.project}-{chapter.number.replace('.', '-')}-{chapter.name}"
        for project in (3, 4)
        for chapter in load().of_project(project)
    ]
    names = {f"{slug}{suffix}.md" for slug in [*slugs, *chapters] for suffix in ("", ".zh")}
    names |= {f"{slug}-side-by-side.html" for slug in slugs}
    assert {path.name for path in paths} == names
    assert {path.name for path in tmp_path.iterdir()} == names | {"index.md"}
    for earlier, slug in enumerate(slugs, start=1):
        found = pair(facts, earlier)
        for suffix in ("", ".zh"):
            lines = (tmp_path / f"{slug}{suffix}.md").read_text("utf-8").splitlines()
            for name, operation in found.operations.items():
                summary = in_language("operations", name, operation.summary, "zh" if suffix else "en")
                assert f"| `{name}` | {summary.replace('|', chr(92) + '|')} |" in lines
            for names_of in (found.settings, found.tables, found.packages, found.shared_modules, found.services):
                assert [name for name in names_of if f"`{name}`" not in "\n".join(lines)] == []
            for file in found.new_files:
                row = f"| `{file.path.rpartition('/')[2]}` | {file.lines} |"
                assert any(line.startswith(row) for line in lines), file.path
            for path in found.changed_files:
                assert f"+++ {found.later.stage.package}/{path}" in lines
                assert set(terminal.unified(found, path)) <= set(lines)
        html = (tmp_path / f"{slug}-side-by-side.html").read_text("utf-8")
        assert [path for path in found.changed_files if f'<h2 id="{path}">' not in html] == []


def test_pages_are_ignored_by_git_except_their_index(facts: list[Facts]) -> None:
    pattern = "docs/differences/*-to-*"
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()

    assert [line for line in ignored if "differences" in line] == [pattern]
    assert all(fnmatch(f"docs/differences/{name}", pattern) for name in pages.render(facts))
    assert not fnmatch("docs/differences/index.md", pattern)
    assert not fnmatch("docs/differences/index.zh.md", pattern)


@pytest.mark.parametrize("suffix", ["", ".zh"])
def test_index_links_to_every_page(facts: list[Facts], suffix: str) -> None:
    links = set(re.findall(r"\]\(([^)]+)\)", (pages.FOLDER / f"index{suffix}.md").read_text("utf-8")))

    # Links leave out the language: the site finds the page in the reader's own.
    assert {name for name in pages.render(facts) if not name.endswith(".zh.md")} <= links


@pytest.mark.parametrize("project", [3, 4])
def test_chapters_share_the_files_and_operations_of_a_stage(facts: list[Facts], project: int) -> None:
    found = pair(facts, project - 1)
    parts = [part_of(found, chapter) for chapter in load().of_project(project)]

    assert sorted(file.path for part in parts for file in part.files) == sorted(file.path for file in found.new_files)
    operations = [name for part in parts for name, _ in part.operations]
    assert len(operations) == len(set(operations))
    assert {path for part in parts for path, _ in part.shared_modules} <= set(found.shared_modules)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_chapter_is_printed_with_its_steps(facts: list[Facts], language: Language) -> None:
    chapter = load().named(4, "accounts")
    lines = list(terminal.chapter_lines(part_of(pair(facts, 3), chapter), Painter(colours=False), language))

    assert lines[0] == ("项目 4 第 2 章：账号" if language == "zh" else "Project 4, chapter 2: Accounts")
    assert " 10. project4_agent_api/accounts/deletion.py:AccountData.delete" in "\n".join(lines)
    assert any(re.match(r"  POST /auth/register +(Create an account\.|注册账号。)", line) for line in lines)
    assert lines[-1].endswith("`make diff-3-4 CHAPTER=limits`")


def test_unknown_chapter_names_the_others() -> None:
    with pytest.raises(CommandError, match="project 3 has no chapter agents; there are: vectors, documents"):
        load().named(3, "agents")


def test_chinese_pages_have_chinese_summaries(facts: list[Facts]) -> None:
    """Later additions are shown in English until somebody translates them."""
    generated = pages.render(facts)
    rows = [
        line
        for name in ("2-to-3.zh.md", "3-to-4.zh.md")
        for line in generated[name].splitlines()
        if re.match(r"\| `(GET|POST|PUT|PATCH|DELETE) ", line)
    ]

    chinese = [line for line in rows if re.search(r"[\u4e00-\u9fff]", line)]
    assert len(chinese) > 0.8 * len(rows) > 50


BEFORE = """
from shared.settings import Settings as Base

LIST = [1]


class Settings(Base):
    one: int


def create_app() -> str:
    return "one"


def inherited() -> None: ...
"""
AFTER = """
from project1_qa_api import main as stage1
from project1_qa_api.settings import Settings as Stage1Settings

LIST = [*stage1.LIST, 2]


class Settings(Stage1Settings):
    two: int


def create_app() -> str:
    return "two"


def added() -> None: ...
"""


def test_only_replaced_extended_and_new_definitions_are_compared() -> None:
    compared = compare_definitions("main.py", BEFORE, AFTER)

    assert [(one.name, one.kind) for one in compared] == [
        ("LIST", "extended"),
        ("Settings", "extended"),
        ("create_app", "replaced"),
        ("added", "new"),
    ]
    lines = [line for one in compared for line in one.unified()]
    assert [line for line in lines if line.startswith("-")] == ['-    return "one"']
    assert "+    two: int" in lines
    assert "inherited" not in "\n".join(lines)


def test_first_uses_of_shared_modules_are_listed(facts: list[Facts]) -> None:
    second, third, fourth = (pair(facts, earlier).shared_modules for earlier in (1, 2, 3))

    assert "shared/database/engine.py" in second
    assert "shared/jobs/queue.py" in third
    assert "shared/redis/client.py" in fourth
    assert "shared/app.py" in facts[0].shared_modules
    assert not {"shared/app.py", *second} & {*third, *fourth}
    assert all(summary for modules in (second, third, fourth) for summary in modules.values())


def test_no_stage_removes_anything(facts: list[Facts]) -> None:
    for earlier, later in itertools.pairwise(facts):
        assert compare(earlier, later).removed == [], later.stage.package


def test_removals_are_named(facts: list[Facts]) -> None:
    stage2 = facts[1]
    more = replace(
        stage2,
        operations={**stage2.operations, "PUT /gone": Operation("", frozenset({"200"}), requires_authentication=False)},
        settings={**stage2.settings, "GONE": Setting(None, "")},
        tables={**stage2.tables, "users": stage2.tables["users"] | {"lost": "text"}, "gone": {"id": "uuid"}},
    )

    assert compare(more, facts[2]).removed == [
        "the operation PUT /gone",
        "the setting GONE",
        "the column users.lost",
        "the table gone",
    ]


def test_difference_is_read_from_the_code(facts: list[Facts]) -> None:
    second, third, fourth = (pair(facts, earlier) for earlier in (1, 2, 3))

    assert second.operations["POST /users"].summary == "Create a user."
    assert second.settings["DATABASE_URL"].default is None
    assert second.tables["users"]["email"] == "character varying(254)"
    assert "sqlmodel" in second.packages
    assert "sqlmodel" not in third.packages
    assert third.tables["chunks"]["embedding"].startswith("halfvec")
    assert third.newly_authenticated == []
    assert "POST /ask" in fourth.newly_authenticated
    assert list(fourth.processes) == ["worker"]
    assert list(fourth.services) == ["REDIS_URL"]
    assert fourth.services["REDIS_URL"].startswith("Valkey")
    assert fourth.changed_files[0] == "main.py"
    assert "+    Authenticated(ask.router)," in terminal.unified(fourth, "main.py")
    described = {file.path: file.summary for file in fourth.new_files}
    assert described["worker.py"].startswith("The worker, put together")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("earlier", [1, 2, 3])
def test_summary_fits_on_one_screen(facts: list[Facts], earlier: int, language: Language) -> None:
    lines = terminal.summary(pair(facts, earlier), Painter(colours=False), language)

    assert len(lines) <= terminal.SUMMARY_LINES
    assert max(map(len, lines)) <= terminal.WIDTH
    headings = [line for line in lines if not line.startswith(" ")]
    assert all(bool(re.search("[\u4e00-\u9fff]", line)) == (language == "zh") for line in headings)


def test_colours_are_for_a_terminal_only(facts: list[Facts]) -> None:
    found = pair(facts, 1)

    plain = [*terminal.summary(found, Painter()), *terminal.details(found, Painter())]
    coloured = list(terminal.details(found, Painter(colours=True)))

    assert "\x1b" not in "".join(plain)
    assert any(line == "\x1b[32m+    database,\x1b[0m" for line in coloured)


def test_side_by_side_pages_are_self_contained(facts: list[Facts]) -> None:
    for name, text in pages.render(facts).items():
        if name.endswith(".html"):
            assert not re.search(r'(src|href)="(?!#)', text), name
