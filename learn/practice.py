"""Practice: a copy of a stage in which some functions are blank, the tests that judge them, and their solutions."""

import ast
import difflib
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from learn.judging import run_tests
from learn.language import Said
from learn.places import Place, find
from learn.stages import ROOT, STAGES, WORKBENCH, CannotDo

_FILE = Path(__file__).with_name("practice.toml")
_IGNORED = shutil.ignore_patterns("__pycache__", ".data")


class Exercise(BaseModel):
    """A function to be written.

    Attributes:
        name: How it is called for.
        stage: Whose core it teaches.
        place: Where the function is.
        needs: Exercises without which its tests cannot pass: their order is that of the file.
        task: What is to be done, besides what the function's docstring says.
        hint: Shown when a test fails.
        tests: That judge it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    stage: int
    place: str
    needs: list[str] = []
    task: Said
    hint: Said
    tests: list[str]


@cache
def exercises(stage: int | None = None) -> Sequence[Exercise]:
    """Return the exercises of a stage, or all, in the order in which they are to be solved."""
    found = tomllib.loads(_FILE.read_text("utf-8"))["exercise"]
    every = [Exercise.model_validate(one) for one in found]
    return [one for one in every if stage in {None, one.stage}]


def exercise(name: str) -> Exercise:
    """Return an exercise by its name.

    Raises:
        CannotDo: if there is none.
    """
    for one in exercises():
        if one.name == name:
            return one
    raise CannotDo(f"there is no exercise {name!r}; there are: {', '.join(one.name for one in exercises())}")


def workbench(stage: int) -> Path:
    """Return where a learner's copy of a stage is."""
    return WORKBENCH / f"stage-{stage}"


def lay_out(stage: int, folder: Path) -> None:
    """Make a working copy: the code up to a stage with its tests, and the stage's exercises blank.

    Raises:
        CannotDo: if there is one already: nobody's work is written over.
    """
    if folder.exists():
        raise CannotDo(f"{_shown(folder)} is there already; move it away, or remove it, to begin again")
    packages = [STAGES[number].package for number in range(1, stage + 1)]
    for name in ["shared", *packages, "tests/support", "tests/shared", *(f"tests/{package}" for package in packages)]:
        shutil.copytree(ROOT / name, folder / name, ignore=_IGNORED)
    for name in ["tests/conftest.py", "pyproject.toml"]:
        shutil.copy(ROOT / name, folder / name)
    for one in exercises(stage):
        put(folder, one, blank(find(folder, one.place), one))
    (folder / "EXERCISES.md").write_text("\n".join(_overview(stage)), "utf-8")


def put(folder: Path, one: Exercise, source: str) -> None:
    """Put another text in a function's place."""
    place = find(folder, one.place)
    (folder / place.path).write_text(place.text.replace(place.source, source), "utf-8")


def solution(one: Exercise) -> str:
    """Return an exercise's solution: the function as the project has it."""
    return find(ROOT, one.place).source


def blank(place: Place, one: Exercise) -> str:
    """Return a function with its decorators, signature and docstring, and nothing in it."""
    node = place.node
    if isinstance(node, ast.ClassDef):
        raise CannotDo(f"{one.place} is a class: only functions can be blank")
    lines = place.text.splitlines(keepends=True)
    first = place.source.count("\n")
    has_docstring = ast.get_docstring(node) is not None
    body = node.body[1:] if has_docstring else node.body
    # Up to the line before the body, or after the docstring: a comment between them is a part of the solution.
    head_end = (node.body[0].end_lineno or 0) if has_docstring else body[0].lineno - 1
    head_start = (node.end_lineno or 0) - first
    indent = " " * (node.col_offset + 4)
    text = "".join(lines[head_start:head_end])
    text += "".join(f"{indent}# {language}: {said}\n" for language, said in (("en", one.task.en), ("zh", one.task.zh)))
    text += f'{indent}raise NotImplementedError("{_mark(one)}")\n'
    if any(isinstance(inside, ast.Yield | ast.YieldFrom) for inside in _own_nodes(node)):
        text += f"{indent}yield  # with it, this is a generator\n"
    return text


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a function consists of, without the functions in it."""
    for inside in ast.iter_child_nodes(node):
        if not isinstance(inside, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield inside
            yield from _own_nodes(inside)


def _mark(one: Exercise) -> str:
    return f"practice: {one.name}"


@dataclass(frozen=True)
class Result:
    """How far an exercise is.

    Attributes:
        exercise: Which one.
        begun: Whether its function was touched.
        failed: Its tests that do not pass, and why.
    """

    exercise: Exercise
    begun: bool
    failed: dict[str, str]

    @property
    def solved(self) -> bool:
        """Whether all of its tests pass."""
        return self.begun and not self.failed


def check(stage: int, folder: Path) -> list[Result]:
    """Run the tests that judge the exercises of a stage that were begun, all in one go.

    Args:
        stage: Which.
        folder: The working copy.

    Raises:
        CannotDo: if there is no such copy, or a function is not there any more.
    """
    if not folder.exists():
        raise CannotDo(f"there is no {_shown(folder)}; `make practice-{stage}` makes it")
    begun = {one.name: _mark(one) not in find(folder, one.place).source for one in exercises(stage)}
    tests = [test for one in exercises(stage) if begun[one.name] for test in one.tests]
    verdicts = run_tests(folder, tests) if tests else {}
    return [
        Result(
            one,
            begun[one.name],
            {test: verdicts[test].message for test in one.tests if test in verdicts and not verdicts[test].passed},
        )
        for one in exercises(stage)
    ]


def difference(one: Exercise, folder: Path) -> Iterator[str]:
    """Yield the difference between what a learner has and the solution; without a copy, from the blank to it."""
    source = find(folder, one.place).source if folder.exists() else blank(find(ROOT, one.place), one)
    yield from difflib.unified_diff(
        source.splitlines(), solution(one).splitlines(), "yours", f"solution: {one.place}", lineterm="", n=100
    )


def _overview(stage: int) -> Iterator[str]:
    yield f"# Practice, stage {stage} / 第 {stage} 阶段练习\n"
    yield (
        "Write the bodies of these functions, in this order. `make practice-check` in the project's folder judges them;"
        " `make practice-show NAME=…` shows a solution.\n"
    )
    yield (
        "按顺序写出下列函数的函数体。在项目文件夹中运行 `make practice-check` 进行检查；"
        "`make practice-show NAME=…` 显示答案。\n"
    )
    for number, one in enumerate(exercises(stage), start=1):
        yield f"{number}. **{one.name}**, `{one.place}`\n\n   {one.task.en}\n\n   {one.task.zh}\n"


def _shown(folder: Path) -> str:
    return folder.relative_to(ROOT).as_posix() if folder.is_relative_to(ROOT) else str(folder)
