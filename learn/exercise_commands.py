"""`python -m learn.exercise_commands COMMAND`: the foundations' commands. They import packages of stage 1 only."""

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence

from learn import checklist, exercises
from learn.exercises import Check, Copies, Exercise
from learn.language import Language, Translated
from learn.painter import Painter, coloured
from learn.stages import ROOT, CommandError, echo
from learn.watching import watch
from local.language import terminal_language

_COUNT = Translated(en="{0} of {1} solved", zh="已完成 {0}/{1}")
_TO_WRITE = Translated(
    en="Write in {0}, save, and run `make learn` again.", zh="在 {0} 里写代码，保存后再运行 `make learn`。"
)
_TO_SAVE = Translated(en="Write in {0}, and save.", zh="在 {0} 里写代码，然后保存。")
_HELP = Translated(
    en="Stuck? `make learn-hint`, then `make learn-solution`. The note: {0}",
    zh="卡住了？先用 `make learn-hint`，再用 `make learn-solution`。讲解见 {0}",
)
_LINE = Translated(en="your line {0}: {1}", zh="你的第 {0} 行：{1}")
_CHECK = Translated(en="check: {0}", zh="检查项：{0}")
_HINT = Translated(en="Hint {0} of {1}", zh="提示 {0}/{1}")
_MISSING = Translated(
    en="This exercise needs {0}. `make setup` installs everything that the later exercises use.",
    zh="这道练习需要 {0}。`make setup` 会装好后面练习用到的所有包。",
)
_FINISHED = Translated(
    en="All exercises are solved. Continue with project 1: docs/start.md, then `make practice-1`.",
    zh="所有练习都完成了。接着做项目 1：先看 docs/start.zh.md，再运行 `make practice-1`。",
)
_WATCHING = Translated(
    en="Watching {0}: save a file to have it judged. Ctrl-C ends.",
    zh="正在监视 {0}：保存文件就会自动检查，Ctrl-C 结束。",
)
_RESET = Translated(en="{0} is the starter again.", zh="{0} 已恢复成初始内容。")
_BACKUP = Translated(en="Your version is in {0}.", zh="你原来的代码在 {0}。")
_IDENTICAL = Translated(en="your code is identical to the solution", zh="你的代码与答案完全相同")


class Session:
    """Prints the learner's progress in one language."""

    def __init__(self, language: Language, copies: Copies) -> None:
        self._language = language
        self._copies = copies
        self._painter = Painter()

    def report(self, chosen: Exercise | None = None, *, watching: bool = False) -> None:
        """Judge the exercises that were started and are not solved yet, or a chosen one, and print the next one."""
        current = chosen or self.current()
        if current:
            self._copies.create(current)
        failed: dict[str, Sequence[Check]] = {}
        for exercise in [chosen] if chosen else exercises.load():
            if (
                self._copies.is_started(exercise)
                and not exercise.missing_imports
                and not self._copies.is_solved(exercise)
            ):
                checks = self._copies.judge(exercise)
                if self._copies.is_solved(exercise):
                    echo(f"{self._painter.paint('✓', '32')} {self._name(exercise)}")
                else:
                    failed[exercise.name] = [check for check in checks if not check.passed]
        self._print_progress(failed, chosen, _TO_SAVE if watching else _TO_WRITE)

    def current(self) -> Exercise | None:
        """Return the first exercise that is not solved."""
        return next((exercise for exercise in exercises.load() if not self._copies.is_solved(exercise)), None)

    def watch(self) -> None:
        """Judge whenever a copy is saved, until Ctrl-C."""
        folder = self._copies.folder
        waiting = f"{self._say(_WATCHING, self._display(folder))}\n"
        watch(lambda: folder.glob("*.py"), lambda: self.report(watching=True), waiting)

    def hint(self, one: Exercise) -> None:
        """Print one more hint than the last time."""
        _, hints = one.note(self._language)
        for number, hint in enumerate(hints[: self._copies.next_hint(one, len(hints))], start=1):
            echo(self._painter.paint(self._say(_HINT, number, len(hints)), "1"))
            echo(f"{hint}\n")

    def reset(self, one: Exercise) -> None:
        """Replace a copy by the starter."""
        backup = self._copies.reset(one)
        echo(self._say(_RESET, self._display(self._copies.path(one))))
        if backup:
            echo(self._say(_BACKUP, self._display(backup)))

    def solution(self, one: Exercise) -> None:
        """Print the difference between a copy and the solution."""
        self._copies.create(one)
        yours = self._copies.path(one)
        lines = list(
            difflib.unified_diff(
                yours.read_text("utf-8", "replace").splitlines(),
                (one.folder / "solution.py").read_text("utf-8").splitlines(),
                self._display(yours),
                self._display(one.folder / "solution.py"),
                lineterm="",
                n=100,
            )
        )
        for line in lines or [self._say(_IDENTICAL)]:
            echo(coloured(line, self._painter))

    def _print_progress(
        self, failed: Mapping[str, Sequence[Check]], chosen: Exercise | None, to_write: Translated
    ) -> None:
        for name, checks in failed.items():
            one = exercises.find(name)
            echo(f"{self._painter.paint('✗', '31')} {self._name(one)}")
            self._print_check(one, checks[0])
        solved = len(self._copies.solved())
        total = len(exercises.load())
        bar = "█" * (solved * 30 // total)
        echo(self._painter.paint(f"{bar:░<30} {self._say(_COUNT, solved, total)}", "1"))
        current = chosen if chosen and not self._copies.is_solved(chosen) else self.current()
        if not current:
            echo(self._say(_FINISHED))
            return
        self._copies.create(current)
        if current.name not in failed:
            echo(f"\n{current.note(self._language)[0]}\n")
        if current.missing_imports:
            echo(self._say(_MISSING, ", ".join(current.missing_imports)))
        echo(self._say(to_write, self._painter.paint(self._display(self._copies.path(current)), "36")))
        note = current.folder / ("note.zh.md" if self._language == "zh" else "note.md")
        echo(self._say(_HELP, self._display(note)))

    def _print_check(self, one: Exercise, check: Check) -> None:
        echo(f"    {self._say(_CHECK, check.name)}")
        if check.statement:
            echo(f"    {check.statement}")
        if check.line:
            lines = self._copies.path(one).read_text("utf-8", "replace").splitlines()
            source = lines[check.line - 1].strip() if check.line <= len(lines) else ""
            echo(f"    {self._say(_LINE, check.line, self._painter.paint(source, '1'))}")
        for line in check.message_in(self._language).splitlines():
            echo(f"    {self._painter.paint(line, '31')}")

    def _name(self, one: Exercise) -> str:
        return f"{one.name}  {one.title.in_language(self._language)}"

    def _say(self, text: Translated, *values: object) -> str:
        return text.in_language(self._language).format(*values)

    @staticmethod
    def _display(path: object) -> str:
        return str(path).removeprefix(f"{ROOT}/")


def main() -> int:
    """Run a command.

    Returns:
        The exit status: 0, also if an exercise is not solved yet; 2 after a one-line error message.
    """
    parser = argparse.ArgumentParser(prog="python -m learn.exercise_commands", description=__doc__)
    parser.add_argument("command", choices=["check", "watch", "hint", "reset", "solution", "checklist"])
    parser.add_argument("exercise", nargs="?", help="a name or number; without it the first that is not solved")
    parser.add_argument("--plan", type=int, help="for checklist: only this stage of the study plan, 1 to 6")
    parser.add_argument("--language", choices=["en", "zh"], default=terminal_language())
    arguments = parser.parse_args()
    session = Session(arguments.language, Copies())
    try:
        chosen = exercises.find(arguments.exercise) if arguments.exercise else None
        if arguments.command == "checklist":
            return checklist.report(arguments.plan, arguments.language)
        if arguments.command == "check":
            session.report(chosen)
        elif arguments.command == "watch":
            session.watch()
        else:
            one = chosen or session.current() or exercises.load()[-1]
            {"hint": session.hint, "reset": session.reset, "solution": session.solution}[arguments.command](one)
    except CommandError as error:
        return error.report(arguments.language)
    except (BrokenPipeError, KeyboardInterrupt):  # `… | head`; Ctrl-C
        sys.stderr.close()
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
