"""Print the output of the practice commands."""

from collections.abc import Sequence

from learn import practice
from learn.language import Language, Translated
from learn.painter import Painter, coloured
from learn.practice import Exercise, ExerciseResult
from learn.stages import ROOT, STAGES, CommandError, echo

_CREATED = Translated(
    en="{0} is ready: {1} functions are blank (listed in EXERCISES.md). Write one, then run `make practice-check`.",
    zh="{0} 已准备好：其中 {1} 个函数是空白的（列在 EXERCISES.md 里）。写完一个后运行 `make practice-check`。",
)
_NO_COPY = Translated(
    en="there is no working copy yet; `make practice-2` creates one of stage 2",
    zh="还没有练习副本；`make practice-2` 会创建第 2 阶段的副本",
)
_COUNT = Translated(en="Stage {0}: {1} of {2} solved", zh="第 {0} 阶段：已完成 {1}/{2}")
_NEXT = Translated(en="next", zh="下一个")
_FIRST = Translated(en="solve first", zh="请先完成")
_IDENTICAL = Translated(en="your code is identical to the solution", zh="你的代码与答案完全相同")
_HINT = Translated(en="hint", zh="提示")


def create_working_copy(stage: int, language: Language) -> int:
    """Create a working copy, and print its path.

    Returns:
        The exit status.
    """
    folder = practice.workbench(stage)
    practice.create_working_copy(stage, folder)
    echo(_CREATED.in_language(language).format(folder.relative_to(ROOT), len(practice.exercises(stage))))
    for exercise in practice.exercises(stage):
        echo(f"  {exercise.name:<16} {exercise.place}")
    return 0


def check(stage: int | None, language: Language) -> int:
    """Test one working copy or all of them, and print the progress.

    Returns:
        The exit status: 1 if an exercise that was started fails.
    """
    stages = [stage] if stage else [number for number in STAGES if practice.workbench(number).exists()]
    if not stages:
        raise CommandError(_NO_COPY.in_language(language))
    failed = False
    for number in stages:
        results = practice.check(number, practice.workbench(number))
        failed = failed or any(result.failed for result in results)
        _print(number, results, language)
    return int(failed)


def _print(stage: int, results: Sequence[ExerciseResult], language: Language) -> None:
    painter = Painter()
    done = [result.exercise.name for result in results if result.solved]
    echo(painter.paint(_COUNT.in_language(language).format(stage, len(done), len(results)), "1"))
    following = next((result for result in results if not result.solved), None)
    for result in results:
        exercise = result.exercise
        mark = painter.paint("✓", "32") if result.solved else painter.paint("✗", "31") if result.started else "·"
        echo(f"  {mark} {exercise.name:<16} {exercise.place}")
        for test, why in result.failed.items():
            echo(f"      {test}\n      {painter.paint(why, '2')}")
        if result.failed:
            _print_hint(exercise, [name for name in exercise.needs if name not in done], language)
        elif result is following:
            echo(f"      {_NEXT.in_language(language)}: {exercise.task.in_language(language)}")


def _print_hint(exercise: Exercise, missing: Sequence[str], language: Language) -> None:
    if missing:
        echo(f"      {_FIRST.in_language(language)}: {', '.join(missing)}")
    else:
        echo(f"      {_HINT.in_language(language)}: {exercise.hint.in_language(language)}")


def show(name: str, language: Language) -> int:
    """Print the diff between a learner's function and the solution.

    Returns:
        The exit status.
    """
    exercise = practice.find_exercise(name)
    painter = Painter()
    lines = list(practice.diff_to_solution(exercise, practice.workbench(exercise.stage)))
    for line in lines or [_IDENTICAL.in_language(language)]:
        echo(coloured(line, painter))
    return 0
