"""What the differences between stages say: held against the code, and against the pages that are committed."""

import asyncio
import itertools
import re
from dataclasses import replace

import pytest

from learn import pages, terminal
from learn.differences import Difference, difference
from learn.facts import Facts, Operation, Setting, read_facts
from learn.stages import ROOT, STAGES

pytestmark = pytest.mark.slow  # it migrates a database of its own through all stages


@pytest.fixture(scope="module")
def facts() -> list[Facts]:
    return asyncio.run(read_facts(list(STAGES)))


def pair(facts: list[Facts], earlier: int) -> Difference:
    return difference(facts[earlier - 1], facts[earlier])


def test_the_committed_pages_are_what_the_code_says(facts: list[Facts]) -> None:
    made = pages.made(facts)

    assert set(pages.FOLDER.iterdir()) == set(made), "run `make diffs`"
    stale = [path.relative_to(ROOT).as_posix() for path, text in made.items() if path.read_text("utf-8") != text]
    assert stale == [], "run `make diffs`, and commit what it writes"


def test_no_stage_takes_anything_away(facts: list[Facts]) -> None:
    for earlier, later in itertools.pairwise(facts):
        assert difference(earlier, later).removed == [], later.stage.package


def test_what_is_taken_away_is_named(facts: list[Facts]) -> None:
    stage2 = facts[1]
    more = replace(
        stage2,
        operations={**stage2.operations, "PUT /gone": Operation("", frozenset({"200"}), locked=False)},
        settings={**stage2.settings, "GONE": Setting(None, "")},
        tables={**stage2.tables, "users": stage2.tables["users"] | {"lost": "text"}, "gone": {"id": "uuid"}},
    )

    assert difference(more, facts[2]).removed == [
        "the operation PUT /gone",
        "the setting GONE",
        "the column users.lost",
        "the table gone",
    ]


def test_a_difference_is_read_from_the_code(facts: list[Facts]) -> None:
    second, third, fourth = (pair(facts, earlier) for earlier in (1, 2, 3))

    assert second.operations["POST /users"].does == "Create a user."
    assert second.settings["DATABASE_URL"].default is None
    assert second.tables["users"]["email"] == "character varying(254)"
    assert "sqlmodel" in second.packages
    assert "sqlmodel" not in third.packages
    assert third.tables["chunks"]["embedding"].startswith("halfvec")
    assert third.newly_locked == []
    assert "POST /ask" in fourth.newly_locked
    assert list(fourth.processes) == ["worker"]
    assert list(fourth.services) == ["REDIS_URL"]
    assert fourth.changed_files[0] == "main.py"
    assert "+    Locked(ask.router)," in terminal.unified(fourth, "main.py")
    described = {file.path: file.does for file in fourth.new_files}
    assert described["worker.py"].startswith("The worker, put together")


@pytest.mark.parametrize("earlier", [1, 2, 3])
def test_a_summary_fits_on_one_screen(facts: list[Facts], earlier: int) -> None:
    lines = terminal.summary(pair(facts, earlier), terminal.Painter(colours=False))

    assert len(lines) <= terminal.SUMMARY_LINES
    assert max(map(len, lines)) <= terminal.WIDTH


def test_colours_are_for_a_terminal_only(facts: list[Facts]) -> None:
    found = pair(facts, 1)

    plain = [*terminal.summary(found, terminal.Painter()), *terminal.details(found, terminal.Painter())]
    coloured = list(terminal.details(found, terminal.Painter(colours=True)))

    assert "\x1b" not in "".join(plain)
    assert any(line == "\x1b[32m+from shared.database.engine import database\x1b[0m" for line in coloured)


def test_the_side_by_side_pages_need_nothing_from_elsewhere(facts: list[Facts]) -> None:
    for path, text in pages.made(facts).items():
        if path.suffix == ".html":
            assert not re.search(r'(src|href)="(?!#)', text), path.name
