"""The exercises: each is blank in a working copy, fails there, and passes once its solution is in its place."""

import ast
import os
from pathlib import Path

import pytest

from learn import practice
from learn.citations import is_test
from learn.places import find_definition
from learn.practice import Exercise
from learn.pytest_runner import run_tests
from learn.stages import ROOT, STAGES, CommandError


@pytest.mark.parametrize("one", practice.exercises(), ids=lambda one: one.name)
def test_exercises_name_existing_code(one: Exercise) -> None:
    path, _, _ = one.place.partition(":")

    source = practice.blank(find_definition(ROOT, one.place), one)

    assert f'raise NotImplementedError("practice: {one.name}")' in source
    assert path.split("/")[0] in {
        "shared",
        *(["agent_api"] if one.project == max(STAGES) else []),
        *(stage.package for stage in STAGES.values() if stage.number <= one.project),
    }
    assert one.tests
    assert [test for test in one.tests if not is_test(test)] == []
    assert [each.name for each in practice.exercises(one.project) if each.name in one.needs] == one.needs


def test_every_stage_has_exercises() -> None:
    names = [one.name for one in practice.exercises()]

    assert len(names) == len(set(names))
    for stage in STAGES:
        assert 4 <= len(practice.exercises(stage)) <= 10


def test_exercises_follow_their_prerequisites() -> None:
    for stage in STAGES:
        before: set[str] = set()
        for one in practice.exercises(stage):
            assert set(one.needs) <= before, one.name
            before.add(one.name)


def test_working_copy_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()

    with pytest.raises(CommandError, match="exists already"):
        practice.create_working_copy(1, tmp_path / "mine")


def test_solution_is_shown_as_a_difference() -> None:
    lines = list(practice.diff_to_solution(practice.find_exercise("pages"), Path("nowhere")))

    assert '-    raise NotImplementedError("practice: pages")' in lines
    assert "+    page = list(rows[:limit])" in lines


GUARD = """
import os

EARLIER = {earlier!r}

def enter(name):
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0].partition("[")[0]
    if test in EARLIER[name]:
        raise NotImplementedError(f"practice: {{name}}")
"""


def own_worker(server_url: str) -> dict[str, str]:
    """Return variables with which a run uses this run's server, and databases of its own on it."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return {"TEST_DATABASE_URL": server_url, "PYTEST_XDIST_WORKER": f"gw{number + 8}"}


def guarded(one: Exercise) -> str:
    """Return a solution that is as if blank in the tests of earlier exercises."""
    node = find_definition(ROOT, one.place).node
    lines = practice.solution(one).splitlines(keepends=True)
    inner = (
        next(each for each in node.body if isinstance(each, ast.FunctionDef))
        if isinstance(node, ast.ClassDef)
        else node
    )
    body = inner.body[1:] if ast.get_docstring(inner) is not None else inner.body
    first = body[0].lineno - 1 - ((node.end_lineno or 0) - len(lines))
    call = f"__import__('practice_guard').enter({one.name!r})"
    return "".join([*lines[:first], f"{' ' * body[0].col_offset}{call}\n", *lines[first:]])


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_blanks_fail_and_solutions_pass_in_order(tmp_path: Path, server_url: str, stage: int) -> None:
    """In the tests of each exercise, the functions of later exercises are as if blank: one process tests all."""
    folder = tmp_path / "copy"
    practice.create_working_copy(stage, folder)
    exercises = practice.exercises(stage)
    earlier = {
        one.name: {test for before in exercises[:place] for test in before.tests} for place, one in enumerate(exercises)
    }

    while_blank = run_tests(folder, [one.tests[0] for one in exercises], environment=own_worker(server_url))
    for one in exercises:
        practice.replace_function(folder, one, guarded(one))
    (folder / "practice_guard.py").write_text(GUARD.format(earlier=earlier), "utf-8")
    solved = run_tests(folder, [test for one in exercises for test in one.tests], environment=own_worker(server_url))

    assert [test for test, verdict in while_blank.items() if verdict.passed] == []
    assert [one.name for one in exercises if not earlier[one.name].isdisjoint(one.tests)] == []
    assert {test: verdict.message for test, verdict in solved.items() if not verdict.passed} == {}


def test_second_hint_outlines_the_solution() -> None:
    outline = practice.outline(practice.find_exercise("email-race"))

    assert outline == "name = ...\nreturn ...\n# getattr, Conflict"


def test_reset_makes_only_one_function_blank(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    practice.create_working_copy(1, folder)
    stream, batch = practice.find_exercise("stream"), practice.find_exercise("batch")
    before = find_definition(folder, batch.place).source
    for one in (stream, batch):
        practice.replace_function(folder, one, practice.solution(one))

    backup = practice.reset(batch, folder)
    again = practice.reset(batch, folder)

    assert backup
    assert backup.read_text("utf-8") == practice.solution(batch)
    assert again is None
    assert find_definition(folder, batch.place).source == before
    assert find_definition(folder, stream.place).source == practice.solution(stream)


def test_working_copy_is_in_the_chosen_language(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    practice.create_working_copy(1, folder, "zh")

    batch = practice.find_exercise("batch")
    assert f"# TODO: {batch.task.zh}" in find_definition(folder, batch.place).source
    assert batch.task.en not in (folder / "EXERCISES.md").read_text("utf-8")
    with pytest.raises(CommandError) as raised:
        practice.create_working_copy(1, folder)
    assert "已存在" in raised.value.in_language("zh")


def test_missing_name_lists_the_exercises() -> None:
    with pytest.raises(CommandError, match="NAME=… is missing; the exercises are: history, "):
        practice.find_exercise("")


def test_damaged_progress_starts_again(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    practice.create_working_copy(1, folder)
    (folder / ".practice.json").write_text("{", "utf-8")

    assert not any(result.solved for result in practice.check(1, folder))


@pytest.mark.parametrize("damage", ["# 练习\n".encode("gbk"), b"\0"], ids=["encoding", "zero byte"])
def test_file_that_is_no_text_is_one_line_error(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "copy"
    practice.create_working_copy(1, folder)
    path = practice.find_exercise("batch").place.partition(":")[0]
    (folder / path).write_bytes((folder / path).read_bytes() + damage)

    with pytest.raises(CommandError, match=path):
        practice.check(1, folder)


@pytest.mark.slow
def test_report_lists_solved_and_unsolved_exercises(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    practice.create_working_copy(2, folder)
    pages, context = practice.find_exercise("pages"), practice.find_exercise("context")
    practice.replace_function(folder, pages, practice.solution(pages))
    practice.replace_function(
        folder, context, practice.solution(context).replace('strategy="last"', 'strategy="first"')
    )

    judged: list[str] = []

    def note(exercise: Exercise) -> None:
        judged.append(exercise.name)

    results = {result.exercise.name: result for result in practice.check(2, folder, on_start=note)}

    assert results["pages"].solved
    assert not results["context"].solved
    assert results["context"].failed
    assert not results["exchange"].started
    assert not results["exchange"].failed
    assert judged == ["pages", "context"]
    assert results["context"].line.startswith("project2_user_mgmt/conversation.py:")
    assert results["context"].assertion[0].startswith("tests/project2_user_mgmt/test_conversation.py:")
    assert len(results["context"].assertion) > 1

    practice.check(2, folder, on_start=note)

    assert judged == ["pages", "context", "context"]
