"""`python -m learn COMMAND`: the commands of the course. Each has a `make` target."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable

from learn import checklist, pages, practice_report
from learn.differences import compare
from learn.facts import read_facts
from learn.language import terminal_language
from learn.painter import Painter
from learn.stages import ROOT, STAGES, CommandError, echo
from learn.steps import STEPS, part_of
from learn.terminal import details, step_lines, summary


def _diff(arguments: argparse.Namespace) -> int:
    if arguments.step and (arguments.earlier, arguments.later) != (3, 4):
        raise CommandError("only the difference between stages 3 and 4 has steps", "只有第 3、4 阶段之间的差异分步骤")
    earlier, later = asyncio.run(read_facts([arguments.earlier, arguments.later]))
    found = compare(earlier, later)
    painter = Painter()
    if arguments.step:
        lines = list(step_lines(part_of(found, STEPS[arguments.step]), painter))
    else:
        lines = [*summary(found, painter), "", *details(found, painter)]
    for line in lines:
        echo(line)
    return 0


def _diffs(_arguments: argparse.Namespace) -> int:
    for path in pages.write(asyncio.run(read_facts(list(STAGES)))):
        echo(str(path.relative_to(ROOT)))
    return 0


def main() -> int:
    """Run a command.

    Returns:
        The exit status: 0; 1 if a check failed; 2 after a one-line error message; 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="python -m learn", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:  # noqa: A002  argparse's own name
        added = commands.add_parser(name, help=help)
        added.set_defaults(run=run)
        return added

    diff = command("diff", _diff, "print what a stage adds to the one before")
    diff.add_argument("earlier", type=int, choices=list(STAGES))
    diff.add_argument("later", type=int, choices=list(STAGES))
    diff.add_argument("--step", choices=list(STEPS), help="only one of the steps in which stage 4 is read")
    command("diffs", _diffs, "write the differences as pages into docs/differences/")

    copy = command(
        "practice",
        lambda args: practice_report.create_working_copy(args.stage, args.language),
        "create a working copy with blank functions",
    )
    copy.add_argument("stage", type=int, choices=list(STAGES))
    check = command(
        "practice-check",
        lambda args: practice_report.check(args.stage, args.language, strict=args.strict, again=args.again),
        "test a working copy, with hints",
    )
    check.add_argument("--strict", action="store_true", help="exit with status 1 if an exercise fails")
    check.add_argument("--again", action="store_true", help="test also what passed before and did not change")
    watch = command(
        "practice-watch",
        lambda args: practice_report.watch(args.stage, args.language),
        "test a working copy whenever a file is saved",
    )
    for with_stage in (check, watch):
        with_stage.add_argument("--stage", type=int, choices=list(STAGES), help="only the working copy of this stage")
    hint = command(
        "practice-hint",
        lambda args: practice_report.hint(args.name, args.level, args.language),
        "print a hint for an exercise",
    )
    hint.add_argument("--level", type=int, choices=[1, 2], default=1, help="2: with the outline of the solution")
    reset = command(
        "practice-reset",
        lambda args: practice_report.reset(args.name, args.language),
        "make the function of an exercise blank again",
    )
    show = command(
        "practice-show",
        lambda args: practice_report.show(args.name, args.language),
        "print the solution of an exercise",
    )
    for with_name in (hint, reset, show):
        with_name.add_argument("name", nargs="?", default="")
    items = command(
        "checklist", lambda args: checklist.report(args.stage, args.language), "run the tests of the check list"
    )
    items.add_argument("--stage", type=int, help="only this stage of the study plan, 1 to 6")
    for localized in (copy, check, watch, hint, reset, show, items):
        localized.add_argument("--language", choices=["en", "zh"], default=terminal_language())

    arguments = parser.parse_args()
    try:
        status: int = arguments.run(arguments)
    except CommandError as error:
        return error.report(getattr(arguments, "language", terminal_language()))
    except BrokenPipeError:  # `… | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


if __name__ == "__main__":
    sys.exit(main())
