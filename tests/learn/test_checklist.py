"""The learner's check list: an item is done when its exercises are solved, and only then."""

import shutil
from pathlib import Path

import pytest

from learn import checklist, exercises, practice
from learn.checklist import Item, Task
from learn.exercises import Check, Copies, Exercise
from learn.places import find_definition
from learn.pytest_runner import Verdict
from learn.stages import ROOT, STAGES, CommandError

PLAN = [f"C{stage}.{number}" for stage in range(1, 7) for number in range(1, 4)]
ITEMS = pytest.mark.parametrize("item", checklist.items(), ids=lambda item: item.id)


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copies:
    """A learner's copies whose judgements all pass: that solutions pass them is tested elsewhere."""
    monkeypatch.setattr(practice, "run_tests", lambda _, tests, **__: {test: Verdict(passed=True) for test in tests})
    return Copies(tmp_path / "exercises", lambda chosen, _: {one.name: [Check("check", passed=True)] for one in chosen})


def done(copies: Copies) -> list[str]:
    every = checklist.tasks(copies)
    return [item.id for item in checklist.items() if checklist.is_done(item, every)]


def solve(task: Task, copies: Copies) -> None:
    """Solve one exercise as a learner does: write the solution, and have it judged."""
    if task.project is None:
        one: Exercise = exercises.find(task.name)
        copies.create(one)
        copies.path(one).write_text((one.folder / "solution.py").read_text("utf-8"), "utf-8")
        copies.judge(one)
        return
    folder = practice.workbench(task.project, copies.folder.parent)
    if not folder.exists():
        create_small_working_copy(task.project, folder)
    function = practice.find_exercise(task.name)
    practice.replace_function(folder, function, practice.solution(function))
    practice.check(task.project, folder)


def create_small_working_copy(project: int, folder: Path) -> None:
    """Create a working copy of the files that have the exercises and their tests, and no others."""
    for one in practice.exercises(project):
        for name in [one.place.partition(":")[0], *(test.partition("::")[0] for test in one.tests)]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    for one in practice.exercises(project):
        practice.replace_function(folder, one, practice.blank(find_definition(folder, one.place), one))


def test_every_item_of_the_plan_appears_once() -> None:
    assert [item.id for item in checklist.items()] == PLAN


def test_fresh_clone_has_no_item(copies: Copies) -> None:
    assert done(copies) == []
    assert not any(task.solved for task in checklist.tasks(copies))


@ITEMS
def test_item_has_two_exercises_and_one_of_its_own(item: Item) -> None:
    mine = [task for task in checklist.tasks() if item.id in task.items]
    assert len(mine) >= 2
    assert any(task.items == [item.id] for task in mine), "another item's exercises could do it by the way"


def test_exercises_name_items_of_the_plan() -> None:
    assert [task.name for task in checklist.tasks() if not set(task.items) <= set(PLAN)] == []


def test_solving_the_exercises_of_an_item_completes_it_alone(copies: Copies) -> None:
    before: list[str] = []
    for item in checklist.items():
        mine = [task for task in checklist.tasks(copies) if item.id in task.items and not task.solved]
        *others, last = mine
        for task in others:
            solve(task, copies)
        assert done(copies) == before
        solve(last, copies)
        before.append(item.id)
        assert done(copies) == before


def test_changed_code_is_not_done_any_more(copies: Copies) -> None:
    first, stream = exercises.load()[0], practice.find_exercise("stream")
    for task in checklist.tasks(copies):
        if task.name in {first.name, "stream", "history", "while-connected"}:
            solve(task, copies)
    folder = practice.workbench(1, copies.folder.parent)
    assert {task.name for task in checklist.tasks(copies) if task.solved} >= {first.name, "stream"}

    copies.path(first).write_text("", "utf-8")
    needed = practice.find_exercise("history")
    practice.replace_function(folder, needed, practice.blank(find_definition(folder, needed.place), needed))

    solved = {task.name for task in checklist.tasks(copies) if task.solved}
    assert not solved & {first.name, needed.name, stream.name}, "stream needs history, which is blank again"
    assert "while-connected" in solved


def test_damaged_working_copy_is_not_solved(copies: Copies) -> None:
    folder = practice.workbench(1, copies.folder.parent)
    folder.mkdir(parents=True)
    (folder / ".practice.json").write_text('{"history": "x", "stream": 1}', "utf-8")

    assert not any(task.solved for task in checklist.tasks(copies))


def test_working_copy_of_an_earlier_version_is_found(tmp_path: Path) -> None:
    assert practice.workbench(2, tmp_path) == tmp_path / "project-2"
    (tmp_path / "stage-2").mkdir()
    assert practice.workbench(2, tmp_path) == tmp_path / "stage-2"
    assert [number for number in STAGES if practice.workbench(number, tmp_path).exists()] == [2]


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        (
            "en",
            ["1 of 3 items done, 5 of 12 exercises solved", "Next: 10-fastapi, with `make learn EXERCISE=10-fastapi`."],
        ),
        ("zh", ["已完成 1/3 项，做完 5/12 道练习", "下一道：10-fastapi，运行 `make learn EXERCISE=10-fastapi`。"]),
    ],
)
def test_report_counts_one_stage_of_the_plan(
    copies: Copies,
    capsys: pytest.CaptureFixture[str],
    language: str,
    lines: list[str],
) -> None:
    for task in checklist.tasks(copies):
        if "C2.3" in task.items:
            solve(task, copies)

    assert checklist.report(2, "zh" if language == "zh" else "en", copies) == 0

    printed = capsys.readouterr().out
    assert "✓ C2.3" in printed
    assert "· C2.1" in printed
    assert "C3.1" not in printed
    assert [line for line in lines if line not in printed] == []


def test_unknown_stage_of_the_plan_is_an_error() -> None:
    with pytest.raises(CommandError, match="the plan has no stage 9; PLAN is 1 to 6"):
        checklist.report(9, "en")
