"""Practice: working copies of a project with blank functions, the tests that grade them, and the solutions."""

import ast
import contextlib
import difflib
import hashlib
import json
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from learn.language import Language, Translated
from learn.places import Definition, Place, find_definition
from learn.pytest_runner import Verdict, explanation, run_tests
from learn.stages import ROOT, STAGES, WORKBENCH, CommandError

_FILE = Path(__file__).with_name("practice.toml")
_TEST_SECONDS = 10.0
_PASSED = ".practice.json"
_MAX_ASSERTION_LINES = 6
_COMMAND = "agent_api"  # the command of the last project, with its evaluations
_IGNORED = shutil.ignore_patterns("__pycache__", ".data")
_HEADING = Translated(
    en="# Practice, project {0}\n\n"
    "Write these functions and classes, in this order. In the project's folder, `make practice-check` tests them,"
    " `make practice-hint NAME=…` prints hints, `make practice-reset NAME=…` makes a function blank again, and"
    " `make practice-show NAME=…` prints a solution.\n",
    zh="# 项目 {0} 的练习\n\n"
    "按顺序写出下列函数和类。在项目文件夹中运行：`make practice-check` 进行检查，"
    "`make practice-hint NAME=…` 查看提示，`make practice-reset NAME=…` 恢复空白，"
    "`make practice-show NAME=…` 查看答案。\n",
)


class Exercise(BaseModel):
    """A function or a class to write.

    Attributes:
        needs: Earlier exercises that its tests depend on.
        items: Items of the plan's check list that it belongs to.
        task: The task, in addition to the docstring.
        tests: Node ids of the tests that grade it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    project: int
    place: str
    needs: list[str] = []
    items: list[str] = []
    task: Translated
    hint: Translated
    tests: list[str]


@cache
def exercises(project: int | None = None) -> Sequence[Exercise]:
    """Return the exercises of one project or of all, in the order in which to solve them."""
    found = tomllib.loads(_FILE.read_text("utf-8"))["exercise"]
    every = [Exercise.model_validate(exercise) for exercise in found]
    return [exercise for exercise in every if project in {None, exercise.project}]


def find_exercise(name: str) -> Exercise:
    """Return an exercise by its name.

    Raises:
        CommandError: if it does not exist.
    """
    for exercise in exercises():
        if exercise.name == name:
            return exercise
    names = ", ".join(exercise.name for exercise in exercises())
    if not name:
        raise CommandError(f"NAME=… is missing; the exercises are: {names}", f"缺少 NAME=…；现有练习：{names}")
    raise CommandError(f"there is no exercise {name!r}; there are: {names}", f"没有练习 {name!r}；现有练习：{names}")


def workbench(project: int, within: Path = WORKBENCH) -> Path:
    """Return the folder of a project's working copy; those of earlier versions are named `stage-N`."""
    folder, earlier = within / f"project-{project}", within / f"stage-{project}"
    return earlier if earlier.exists() and not folder.exists() else folder


def create_working_copy(project: int, folder: Path, language: Language = "en") -> None:
    """Create a working copy: the code and tests up to a project, with the project's exercises blank.

    Raises:
        CommandError: if the folder exists; a learner's work is never overwritten.
    """
    if folder.exists():
        shown = display_path(folder)
        raise CommandError(
            f"{shown} exists already; move or delete it to start again", f"{shown} 已存在；要重新开始，请先移走或删除它"
        )
    packages = [STAGES[number].package for number in range(1, project + 1)]
    packages += [_COMMAND] if project == max(STAGES) else []
    tests = ["tests/support", "tests/shared", *(f"tests/{package}" for package in packages)]
    for name in ["shared", "local", *packages, *tests]:
        shutil.copytree(ROOT / name, folder / name, ignore=_IGNORED)
    for name in ["tests/conftest.py", "pyproject.toml"]:
        shutil.copy(ROOT / name, folder / name)
    for exercise in exercises(project):
        replace_function(folder, exercise, blank(find_definition(folder, exercise.place), exercise, language))
    (folder / "EXERCISES.md").write_text("\n".join(_overview(project, language)), "utf-8")


def replace_function(folder: Path, exercise: Exercise, source: str) -> None:
    """Replace the source of an exercise's function."""
    place = find_definition(folder, exercise.place)
    (folder / place.path).write_text(place.text.replace(place.source, source), "utf-8")


def solution(exercise: Exercise) -> str:
    """Return an exercise's solution: the project's own function."""
    return find_definition(ROOT, exercise.place).source


def reset(exercise: Exercise, folder: Path, language: Language = "en") -> Path | None:
    """Make an exercise's function blank again; the working copy's other functions do not change.

    Returns:
        The path of the replaced function's backup, if the function was not blank.
    """
    require_working_copy(exercise.project, folder)
    source = find_definition(folder, exercise.place).source
    backup = folder / f"{exercise.name}.py.old" if _marker(exercise) not in source else None
    if backup:
        backup.write_text(source, "utf-8")
    replace_function(folder, exercise, blank(find_definition(ROOT, exercise.place), exercise, language))
    return backup


def require_working_copy(project: int, folder: Path) -> None:
    """Check that there is a working copy in a folder.

    Raises:
        CommandError: if there is none.
    """
    if not folder.exists():
        shown, command = display_path(folder), f"`make practice-{project}`"
        raise CommandError(f"{shown} does not exist; {command} creates it", f"{shown} 不存在；用 {command} 创建")


def blank(place: Place, exercise: Exercise, language: Language = "en") -> str:
    """Return a function with its decorators, signature and docstring, and a body that raises.

    A class keeps its decorators, bases and docstring, and gets an `__init__` that raises: other modules can import it.
    """
    node = place.node
    lines = place.text.splitlines(keepends=True)
    first = place.source.count("\n")
    has_docstring = ast.get_docstring(node) is not None
    body = _without_docstring(node)
    # A comment between the docstring and the body belongs to the solution.
    head_end = (node.body[0].end_lineno or 0) if has_docstring else body[0].lineno - 1
    head_start = (node.end_lineno or 0) - first
    indent = " " * (node.col_offset + 4)
    text = "".join(lines[head_start:head_end])
    text += f"{indent}# TODO: {exercise.task.in_language(language)}\n"
    if isinstance(node, ast.ClassDef):
        text += f"\n{indent}def __init__(self, *args: object, **kwargs: object) -> None:\n"
        indent += "    "
    text += f'{indent}raise NotImplementedError("{_marker(exercise)}")\n'
    if any(isinstance(inside, ast.Yield | ast.YieldFrom) for inside in _own_nodes(node)):  # of no method of a class
        text += f"{indent}yield  # keeps this a generator\n"
    return text


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function or a class, without those of nested functions."""
    for inside in ast.iter_child_nodes(node):
        if not isinstance(inside, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield inside
            yield from _own_nodes(inside)


def _marker(exercise: Exercise) -> str:
    return f"practice: {exercise.name}"


def outline(exercise: Exercise) -> str:
    """Return the second hint: the control flow of the solution, with `...` for each expression."""
    node = find_definition(ROOT, exercise.place).node
    body = _without_docstring(node)
    calls = [node.func for statement in body for node in ast.walk(statement) if isinstance(node, ast.Call)]
    names = ", ".join(dict.fromkeys(ast.unparse(call) for call in calls if _is_short(call)))
    return "\n".join([*_outline(body, ""), *([f"# {names}"] if names else [])])


def _without_docstring(node: Definition) -> Sequence[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node) is not None else node.body


def _is_short(call: ast.expr) -> bool:
    return isinstance(call, ast.Name) or (isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name))


# The part of a statement before its expression.
_STATEMENT = re.compile(r"(return|raise|yield|await|continue|break|pass)\b|\w[\w.]*(: [^=]+)? \S?=(?= )")
_ALONE = {"continue", "break", "pass"}


def _outline(statements: Sequence[ast.stmt], indent: str) -> Iterator[str]:
    for statement in statements:
        lines = ast.unparse(statement).splitlines()
        blocks = [name for name in ("body", "handlers", "orelse", "finalbody") if getattr(statement, name, None)]
        if not blocks:
            shown = _STATEMENT.match(lines[0])
            yield indent + ("..." if shown is None else shown[0] if shown[0] in _ALONE else f"{shown[0]} ...")
            continue
        yield indent + next(line for line in lines if not line.startswith("@"))
        for name in blocks:
            if name in {"orelse", "finalbody"}:
                yield f"{indent}{'else' if name == 'orelse' else 'finally'}:"
            for block in getattr(statement, name) if name == "handlers" else [statement]:
                if isinstance(block, ast.ExceptHandler):
                    yield f"{indent}{ast.unparse(block).splitlines()[0]}"
                    yield from _outline(block.body, f"{indent}    ")
                else:
                    inside = _without_docstring(block) if isinstance(block, Definition) else getattr(block, name)
                    yield from _outline(inside, f"{indent}    ")


@dataclass(frozen=True)
class ExerciseResult:
    """The state of an exercise in a working copy.

    Attributes:
        started: Whether the function is no longer blank.
        failed: Message of the test that failed, by its node id.
        line: The learner's line that ran last before the failure, as `PATH:LINE: SOURCE`.
        assertion: The line of the test that failed, and pytest's explanation.
    """

    exercise: Exercise
    started: bool
    failed: Mapping[str, str]
    line: str = ""
    assertion: Sequence[str] = ()

    @property
    def solved(self) -> bool:
        """Whether all of its tests pass."""
        return self.started and not self.failed


def check(
    project: int, folder: Path, *, again: bool = False, on_start: Callable[[Exercise], None] = lambda _: None
) -> list[ExerciseResult]:
    """Test the exercises that were started, each in a pytest process of its own.

    Args:
        again: Test also those that passed before and did not change since.
        on_start: Called with each exercise before its tests run.

    Raises:
        CommandError: if there is no working copy in the folder, or a function is missing from it.
    """
    require_working_copy(project, folder)
    passed = {} if again else _load_passed(folder)
    results = []
    for exercise in exercises(project):
        place = find_definition(folder, exercise.place)
        started = _marker(exercise) not in place.source
        fingerprint = _fingerprint(exercise, folder)
        if not started or passed.get(exercise.name) == fingerprint:
            results.append(ExerciseResult(exercise, started, {}))
            continue
        on_start(exercise)
        verdicts = run_tests(folder, exercise.tests, test_seconds=_TEST_SECONDS)
        result = _result(exercise, place, verdicts)
        passed.pop(exercise.name, None)
        if result.solved:
            passed[exercise.name] = fingerprint
        results.append(result)
    (folder / _PASSED).write_text(json.dumps(passed), "utf-8")
    return results


def solved_names(within: Path = WORKBENCH) -> set[str]:
    """Return the exercises that passed in the working copies, and whose code did not change since."""
    solved = set()
    for exercise in exercises():
        folder = workbench(exercise.project, within)
        passed = _load_passed(folder).get(exercise.name)
        with contextlib.suppress(CommandError, OSError):  # a file that is missing or broken
            if passed and passed == _fingerprint(exercise, folder):
                solved.add(exercise.name)
    return solved


def _load_passed(folder: Path) -> dict[str, str]:
    """Return the fingerprints of the exercises that passed in a working copy, by name."""
    with contextlib.suppress(FileNotFoundError, ValueError):  # a damaged file: everything is tested again
        found: object = json.loads((folder / _PASSED).read_text("utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _fingerprint(exercise: Exercise, folder: Path) -> str:
    """Return a digest of what the verdict depends on: the function, those that it needs, and the tests."""
    code = [find_definition(folder, function.place).source for function in _with_needs(exercise)]
    tests = [(folder / test.partition("::")[0]).read_text("utf-8") for test in exercise.tests]
    return hashlib.sha256("\0".join([*code, *tests]).encode()).hexdigest()


def _with_needs(exercise: Exercise) -> Iterator[Exercise]:
    """Yield an exercise and, recursively, those that it needs."""
    yield exercise
    for name in exercise.needs:
        yield from _with_needs(find_exercise(name))


def _result(exercise: Exercise, place: Place, verdicts: Mapping[str, Verdict]) -> ExerciseResult:
    """Return the result of an exercise, with the failure's line in the learner's function and in the test."""
    failed = {test: verdict for test, verdict in verdicts.items() if not verdict.passed}
    if not failed:
        return ExerciseResult(exercise, started=True, failed={})
    test, verdict = next(iter(failed.items()))
    first, last = place.node.lineno, place.node.end_lineno or place.node.lineno
    own = [line for line in _lines_of(place.path, verdict.output) if first <= line <= last]
    number = own[-1] if own else first
    explained = verdict.output.partition("All stacks:")[0].splitlines()
    assertion = [line.removeprefix("E").strip() for line in explained if line.startswith("E  ")]
    in_test = _lines_of(test.partition("::")[0], verdict.output)
    where = [f"{test.partition('::')[0]}:{in_test[-1]}"] if in_test else []
    return ExerciseResult(
        exercise,
        started=True,
        failed={name: each.message for name, each in failed.items()},
        line=f"{place.path}:{number}: {place.text.splitlines()[number - 1].strip()}",
        assertion=[*where, *explanation(assertion)[:_MAX_ASSERTION_LINES]],
    )


def _lines_of(path: str, output: str) -> list[int]:
    """Return the line numbers of a file in tracebacks: those of Python, of pytest and in logs in JSON."""
    return [int(number) for number in re.findall(re.escape(path) + r'(?:\\?", line |:)(\d+)', output)]


def diff_to_solution(exercise: Exercise, folder: Path, language: Language = "en") -> Iterator[str]:
    """Yield the diff from a learner's function, or from the blank one if there is no copy, to the solution."""
    source = (
        find_definition(folder, exercise.place).source
        if folder.exists()
        else blank(find_definition(ROOT, exercise.place), exercise, language)
    )
    names = ("yours", "solution") if language == "en" else ("你的代码", "答案")
    yield from difflib.unified_diff(
        source.splitlines(),
        solution(exercise).splitlines(),
        names[0],
        f"{names[1]}: {exercise.place}",
        lineterm="",
        n=100,
    )


def _overview(project: int, language: Language) -> Iterator[str]:
    yield _HEADING.in_language(language).format(project)
    for number, exercise in enumerate(exercises(project), start=1):
        yield f"{number}. **{exercise.name}**, `{exercise.place}`\n\n   {exercise.task.in_language(language)}\n"


def display_path(folder: Path) -> str:
    """Return a folder as it is shown: relative to the project's folder if it is in it."""
    return folder.relative_to(ROOT).as_posix() if folder.is_relative_to(ROOT) else str(folder)
