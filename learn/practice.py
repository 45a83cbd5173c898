"""Practice: working copies of a stage with blank functions, the tests that grade them, and the solutions."""

import ast
import difflib
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from learn.language import Translated
from learn.places import Place, find_definition
from learn.pytest_runner import run_tests
from learn.stages import ROOT, STAGES, WORKBENCH, CommandError

_FILE = Path(__file__).with_name("practice.toml")
_IGNORED = shutil.ignore_patterns("__pycache__", ".data")


class Exercise(BaseModel):
    """A function to write.

    Attributes:
        needs: Earlier exercises that its tests depend on.
        task: The task, in addition to the function's docstring.
        tests: Node ids of the tests that grade it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    stage: int
    place: str
    needs: list[str] = []
    task: Translated
    hint: Translated
    tests: list[str]


@cache
def exercises(stage: int | None = None) -> Sequence[Exercise]:
    """Return the exercises of one stage or of all, in the order in which to solve them."""
    found = tomllib.loads(_FILE.read_text("utf-8"))["exercise"]
    every = [Exercise.model_validate(exercise) for exercise in found]
    return [exercise for exercise in every if stage in {None, exercise.stage}]


def find_exercise(name: str) -> Exercise:
    """Return an exercise by its name.

    Raises:
        CommandError: if it does not exist.
    """
    for exercise in exercises():
        if exercise.name == name:
            return exercise
    names = ", ".join(exercise.name for exercise in exercises())
    raise CommandError(f"there is no exercise {name!r}; there are: {names}")


def workbench(stage: int) -> Path:
    """Return the folder of a stage's working copy."""
    return WORKBENCH / f"stage-{stage}"


def create_working_copy(stage: int, folder: Path) -> None:
    """Create a working copy: the code and tests up to a stage, with the stage's exercises blank.

    Raises:
        CommandError: if the folder exists; a learner's work is never overwritten.
    """
    if folder.exists():
        raise CommandError(f"{_display_path(folder)} exists already; move or delete it to start again")
    packages = [STAGES[number].package for number in range(1, stage + 1)]
    tests = ["tests/support", "tests/shared", *(f"tests/{package}" for package in packages)]
    for name in ["shared", "local", *packages, *tests]:
        shutil.copytree(ROOT / name, folder / name, ignore=_IGNORED)
    for name in ["tests/conftest.py", "pyproject.toml"]:
        shutil.copy(ROOT / name, folder / name)
    for exercise in exercises(stage):
        replace_function(folder, exercise, blank(find_definition(folder, exercise.place), exercise))
    (folder / "EXERCISES.md").write_text("\n".join(_overview(stage)), "utf-8")


def replace_function(folder: Path, exercise: Exercise, source: str) -> None:
    """Replace the source of an exercise's function."""
    place = find_definition(folder, exercise.place)
    (folder / place.path).write_text(place.text.replace(place.source, source), "utf-8")


def solution(exercise: Exercise) -> str:
    """Return an exercise's solution: the project's own function."""
    return find_definition(ROOT, exercise.place).source


def blank(place: Place, exercise: Exercise) -> str:
    """Return a function with its decorators, signature and docstring, and a body that raises."""
    node = place.node
    if isinstance(node, ast.ClassDef):
        raise CommandError(f"{exercise.place} is a class; only functions can be blank")
    lines = place.text.splitlines(keepends=True)
    first = place.source.count("\n")
    has_docstring = ast.get_docstring(node) is not None
    body = node.body[1:] if has_docstring else node.body
    # A comment between the docstring and the body belongs to the solution.
    head_end = (node.body[0].end_lineno or 0) if has_docstring else body[0].lineno - 1
    head_start = (node.end_lineno or 0) - first
    indent = " " * (node.col_offset + 4)
    text = "".join(lines[head_start:head_end])
    text += "".join(
        f"{indent}# {language}: {task}\n" for language, task in (("en", exercise.task.en), ("zh", exercise.task.zh))
    )
    text += f'{indent}raise NotImplementedError("{_marker(exercise)}")\n'
    if any(isinstance(inside, ast.Yield | ast.YieldFrom) for inside in _own_nodes(node)):
        text += f"{indent}yield  # keeps this a generator\n"
    return text


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without those of nested functions."""
    for inside in ast.iter_child_nodes(node):
        if not isinstance(inside, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield inside
            yield from _own_nodes(inside)


def _marker(exercise: Exercise) -> str:
    return f"practice: {exercise.name}"


@dataclass(frozen=True)
class ExerciseResult:
    """The state of an exercise in a working copy.

    Attributes:
        started: Whether the function is no longer blank.
    """

    exercise: Exercise
    started: bool
    failed: dict[str, str]

    @property
    def solved(self) -> bool:
        """Whether all of its tests pass."""
        return self.started and not self.failed


def check(stage: int, folder: Path) -> list[ExerciseResult]:
    """Run the tests of the exercises that were started, in one pytest process.

    Raises:
        CommandError: if there is no working copy in the folder, or a function is missing from it.
    """
    if not folder.exists():
        raise CommandError(f"{_display_path(folder)} does not exist; `make practice-{stage}` creates it")
    started = {
        exercise.name: _marker(exercise) not in find_definition(folder, exercise.place).source
        for exercise in exercises(stage)
    }
    tests = [test for exercise in exercises(stage) if started[exercise.name] for test in exercise.tests]
    verdicts = run_tests(folder, tests) if tests else {}
    return [
        ExerciseResult(
            exercise,
            started[exercise.name],
            {test: verdicts[test].message for test in exercise.tests if test in verdicts and not verdicts[test].passed},
        )
        for exercise in exercises(stage)
    ]


def diff_to_solution(exercise: Exercise, folder: Path) -> Iterator[str]:
    """Yield the diff from a learner's function, or from the blank one if there is no copy, to the solution."""
    source = (
        find_definition(folder, exercise.place).source
        if folder.exists()
        else blank(find_definition(ROOT, exercise.place), exercise)
    )
    yield from difflib.unified_diff(
        source.splitlines(), solution(exercise).splitlines(), "yours", f"solution: {exercise.place}", lineterm="", n=100
    )


def _overview(stage: int) -> Iterator[str]:
    yield f"# Practice, stage {stage} / 第 {stage} 阶段练习\n"
    yield (
        "Write the bodies of these functions, in this order. `make practice-check`, run in the project's folder, tests"
        " them; `make practice-show NAME=…` shows a solution.\n"
    )
    yield (
        "按顺序写出下列函数的函数体。在项目文件夹中运行 `make practice-check` 进行检查；"
        "`make practice-show NAME=…` 显示答案。\n"
    )
    for number, exercise in enumerate(exercises(stage), start=1):
        yield f"{number}. **{exercise.name}**, `{exercise.place}`\n\n   {exercise.task.en}\n\n   {exercise.task.zh}\n"


def _display_path(folder: Path) -> str:
    return folder.relative_to(ROOT).as_posix() if folder.is_relative_to(ROOT) else str(folder)
