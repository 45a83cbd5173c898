"""What the practice commands say on a terminal."""

from collections.abc import Sequence

from learn import practice
from learn.language import Language, Said
from learn.practice import Exercise, Result
from learn.stages import ROOT, STAGES, CannotDo, say
from learn.terminal import Painter, coloured

_MADE = Said(
    en="{0} is yours: {1} functions are blank there (EXERCISES.md lists them). Write one, then `make practice-check`.",
    zh="{0} 已准备好：其中 {1} 个函数是空白的（列在 EXERCISES.md 里）。写完一个后运行 `make practice-check`。",
)
_NONE = Said(
    en="there is no working copy yet; `make practice-2` makes one of stage 2",
    zh="还没有练习副本；`make practice-2` 会创建第 2 阶段的副本",
)
_COUNT = Said(en="Stage {0}: {1} of {2} solved", zh="第 {0} 阶段：已完成 {1}/{2}")
_NEXT = Said(en="next", zh="下一个")
_FIRST = Said(en="solve first", zh="请先完成")
_SAME = Said(en="yours is the solution, word for word", zh="你的代码与答案完全相同")
_HINT = Said(en="hint", zh="提示")


def lay_out(stage: int, language: Language) -> int:
    """Make a working copy, and say where it is.

    Returns:
        An exit status.
    """
    folder = practice.workbench(stage)
    practice.lay_out(stage, folder)
    say(_MADE.in_language(language).format(folder.relative_to(ROOT), len(practice.exercises(stage))))
    for one in practice.exercises(stage):
        say(f"  {one.name:<16} {one.place}")
    return 0


def check(stage: int | None, language: Language) -> int:
    """Judge the working copies, or one of them, and say how far they are.

    Returns:
        An exit status: 1 where something that was begun does not pass.
    """
    stages = [stage] if stage else [number for number in STAGES if practice.workbench(number).exists()]
    if not stages:
        raise CannotDo(_NONE.in_language(language))
    failed = False
    for number in stages:
        results = practice.check(number, practice.workbench(number))
        failed = failed or any(result.failed for result in results)
        _print(number, results, language)
    return int(failed)


def _print(stage: int, results: Sequence[Result], language: Language) -> None:
    painter = Painter()
    done = [result.exercise.name for result in results if result.solved]
    say(painter.paint(_COUNT.in_language(language).format(stage, len(done), len(results)), "1"))
    following = next((result for result in results if not result.solved), None)
    for result in results:
        one = result.exercise
        mark = painter.paint("✓", "32") if result.solved else painter.paint("✗", "31") if result.begun else "·"
        say(f"  {mark} {one.name:<16} {one.place}")
        for test, why in result.failed.items():
            say(f"      {test}\n      {painter.paint(why, '2')}")
        if result.failed:
            _advise(one, [name for name in one.needs if name not in done], language)
        elif result is following:
            say(f"      {_NEXT.in_language(language)}: {one.task.in_language(language)}")


def _advise(one: Exercise, missing: Sequence[str], language: Language) -> None:
    if missing:
        say(f"      {_FIRST.in_language(language)}: {', '.join(missing)}")
    else:
        say(f"      {_HINT.in_language(language)}: {one.hint.in_language(language)}")


def show(name: str, language: Language) -> int:
    """Print the difference between what a learner has and the solution.

    Returns:
        An exit status.
    """
    one = practice.exercise(name)
    painter = Painter()
    lines = list(practice.difference(one, practice.workbench(one.stage)))
    for line in lines or [_SAME.in_language(language)]:
        say(coloured(line, painter))
    return 0
