"""Print the output of the practice commands."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from learn import practice, watching
from learn.language import Language, Translated, part_in_language
from learn.painter import Painter, coloured
from learn.practice import Exercise, ExerciseResult
from learn.stages import STAGES, CommandError, echo

_CREATED = Translated(
    en="{0} is ready: {1} functions are blank (listed in EXERCISES.md). Write one, then run `make practice-check`.",
    zh="{0} 已准备好：其中 {1} 个函数是空白的（列在 EXERCISES.md 里）。写完一个后运行 `make practice-check`。",
)
_NO_COPY = CommandError(
    "there is no working copy yet; `make practice-2` creates one of project 2",
    "还没有练习副本；`make practice-2` 会创建项目 2 的副本",
)
_JUDGING = Translated(en="Testing {0} …", zh="正在检查 {0} …")
_COUNT = Translated(en="Project {0}: {1} of {2} solved", zh="项目 {0}：已完成 {1}/{2}")
_NEXT = Translated(en="next", zh="下一个")
_FIRST = Translated(en="solve first", zh="请先完成")
_LINE = Translated(en="your line", zh="你的代码")
_TEST = Translated(en="the test", zh="测试")
_IDENTICAL = Translated(en="your code is identical to the solution", zh="你的代码与答案完全相同")
_HINT = Translated(en="hint", zh="提示")
_MORE = Translated(
    en="more: `make practice-hint NAME={0} LEVEL=2`", zh="更多提示：`make practice-hint NAME={0} LEVEL=2`"
)
_OUTLINE = Translated(
    en="The outline of the solution, and the functions that it calls:", zh="答案的骨架，以及它调用的函数："
)
_RESET = Translated(en="{0} is blank again", zh="{0} 已恢复空白")
_BACKUP = Translated(en="Your version is in {0}.", zh="你原来的代码在 {0}。")
_WATCHING = Translated(en="Waiting for you to save a file; Ctrl-C ends.", zh="等待保存文件；按 Ctrl-C 结束。")


def create_working_copy(project: int, language: Language) -> int:
    """Create a working copy, and print its path.

    Returns:
        The exit status.
    """
    folder = practice.workbench(project)
    practice.create_working_copy(project, folder, language)
    echo(_CREATED.in_language(language).format(practice.display_path(folder), len(practice.exercises(project))))
    for exercise in practice.exercises(project):
        echo(f"  {exercise.name:<16} {exercise.place}")
    return 0


def check(project: int | None, language: Language, *, strict: bool = False, again: bool = False) -> int:
    """Test one working copy or all of them, and print the progress.

    Args:
        strict: Return 1 if an exercise that was started fails.
        again: Test also exercises that passed before and did not change since.

    Returns:
        The exit status.
    """
    failed = False
    for number in _projects(project):
        results = practice.check(
            number,
            practice.workbench(number),
            again=again,
            on_start=lambda exercise: echo(_JUDGING.in_language(language).format(exercise.name)),
        )
        failed = failed or any(result.failed for result in results)
        _print(number, results, language)
    return int(failed and strict)


def watch(project: int | None, language: Language) -> int:
    """Test the working copies now and after each save, until Ctrl-C.

    Returns:
        The exit status.
    """

    def files() -> set[Path]:
        return {
            practice.workbench(number) / exercise.place.partition(":")[0]
            for number in _projects(project)
            for exercise in practice.exercises(number)
        }

    def test() -> None:
        try:
            check(project, language)
        except CommandError as error:  # a syntax error: the next save may repair it
            echo(error.in_language(language))

    with contextlib.suppress(KeyboardInterrupt):
        watching.watch(files, test, _WATCHING.in_language(language))
    return 0


def _projects(project: int | None) -> Sequence[int]:
    projects = [project] if project else [number for number in STAGES if practice.workbench(number).exists()]
    if not projects:
        raise _NO_COPY
    return projects


def _print(project: int, results: Sequence[ExerciseResult], language: Language) -> None:
    painter = Painter()
    done = [result.exercise.name for result in results if result.solved]
    echo(painter.paint(_COUNT.in_language(language).format(project, len(done), len(results)), "1"))
    following = next((result for result in results if not result.solved), None)
    for result in results:
        exercise = result.exercise
        mark = painter.paint("✓", "32") if result.solved else painter.paint("✗", "31") if result.started else "·"
        echo(f"  {mark} {exercise.name:<16} {exercise.place}")
        if result.failed:
            _print_failure(result, painter, language)
            _print_hint(exercise, [name for name in exercise.needs if name not in done], language)
        elif result is following:
            echo(f"      {_label(_NEXT, language)}{exercise.task.in_language(language)}")


def _label(text: Translated, language: Language) -> str:
    return f"{text.zh}：" if language == "zh" else f"{text.en}: "


def _print_failure(result: ExerciseResult, painter: Painter, language: Language) -> None:
    for test, why in result.failed.items():
        echo(f"      {test}")
        first, *rest = [part_in_language(line, language) for line in result.assertion or [why]]
        echo(f"        {_label(_TEST, language)}{painter.paint(first, '31')}")
        for line in rest:
            echo(f"          {painter.paint(line, '31')}")
    echo(f"      {_label(_LINE, language)}{painter.paint(result.line, '1')}")


def _print_hint(exercise: Exercise, missing: Sequence[str], language: Language) -> None:
    if missing:
        echo(f"      {_label(_FIRST, language)}{', '.join(missing)}")
    else:
        echo(f"      {_label(_HINT, language)}{exercise.hint.in_language(language)}")
        echo(f"      {_MORE.in_language(language).format(exercise.name)}")


def hint(name: str, level: int, language: Language) -> int:
    """Print a hint: at level 1 what to think of, at level 2 also the outline of the solution.

    Returns:
        The exit status.
    """
    exercise = practice.find_exercise(name)
    echo(exercise.hint.in_language(language))
    if level > 1:
        echo(f"\n{_OUTLINE.in_language(language)}\n")
        echo(practice.outline(exercise))
    else:
        echo(_MORE.in_language(language).format(name))
    return 0


def reset(name: str, language: Language) -> int:
    """Make one function blank again.

    Returns:
        The exit status.
    """
    exercise = practice.find_exercise(name)
    backup = practice.reset(exercise, practice.workbench(exercise.project), language)
    echo(_RESET.in_language(language).format(exercise.place))
    if backup:
        echo(_BACKUP.in_language(language).format(practice.display_path(backup)))
    return 0


def show(name: str, language: Language) -> int:
    """Print the diff between a learner's function and the solution.

    Returns:
        The exit status.
    """
    exercise = practice.find_exercise(name)
    painter = Painter()
    lines = list(practice.diff_to_solution(exercise, practice.workbench(exercise.project), language))
    for line in lines or [_IDENTICAL.in_language(language)]:
        echo(coloured(line, painter))
    return 0
