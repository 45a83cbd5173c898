"""The exercises: each is blank in a working copy, fails there, and passes once its solution is in its place."""

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
    assert path.split("/")[0] in {"shared", *(stage.package for stage in STAGES.values() if stage.number <= one.stage)}
    assert one.tests
    assert [test for test in one.tests if not is_test(test)] == []
    assert [each.name for each in practice.exercises(one.stage) if each.name in one.needs] == one.needs


def test_every_stage_has_exercises() -> None:
    names = [one.name for one in practice.exercises()]

    assert len(names) == len(set(names))
    for stage in STAGES:
        assert 4 <= len(practice.exercises(stage)) <= 6


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


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_blanks_fail_and_solutions_pass(tmp_path: Path, stage: int) -> None:
    folder = tmp_path / "copy"
    practice.create_working_copy(stage, folder)
    exercises = practice.exercises(stage)

    while_blank = run_tests(folder, [one.tests[0] for one in exercises])
    for one in exercises:
        practice.replace_function(folder, one, practice.solution(one))
    solved = run_tests(folder, [test for one in exercises for test in one.tests])

    assert [test for test, verdict in while_blank.items() if verdict.passed] == []
    assert {test: verdict.message for test, verdict in solved.items() if not verdict.passed} == {}


@pytest.mark.slow
def test_report_lists_solved_and_unsolved_exercises(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    practice.create_working_copy(2, folder)
    pages, context = practice.find_exercise("pages"), practice.find_exercise("context")
    practice.replace_function(folder, pages, practice.solution(pages))
    practice.replace_function(
        folder, context, practice.solution(context).replace('strategy="last"', 'strategy="first"')
    )

    results = {result.exercise.name: result for result in practice.check(2, folder)}

    assert results["pages"].solved
    assert not results["context"].solved
    assert results["context"].failed
    assert not results["exchange"].started
    assert not results["exchange"].failed
