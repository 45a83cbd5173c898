"""`python -m learn.practice_commands COMMAND`: practice, and the check list of this repository.

They import nothing of the projects, and so start at once.
"""

import argparse
import signal
import sys
from collections.abc import Callable

from learn import practice_report, project_checklist
from learn.stages import STAGES, CommandError
from local.language import terminal_language


def main() -> int:
    """Run a command.

    Returns:
        The exit status: 0; 1 if a check failed; 2 after a one-line error message; 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="python -m learn.practice_commands", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:  # noqa: A002  argparse's own name
        added = commands.add_parser(name, help=help)
        added.set_defaults(run=run)
        added.add_argument("--language", choices=["en", "zh"], default=terminal_language())
        return added

    copy = command(
        "create",
        lambda args: practice_report.create_working_copy(args.project, args.language),
        "create a working copy with blank functions",
    )
    copy.add_argument("project", type=int, choices=list(STAGES))
    check = command(
        "check",
        lambda args: practice_report.check(args.project, args.language, strict=args.strict, again=args.again),
        "test a working copy, with hints",
    )
    check.add_argument("--strict", action="store_true", help="exit with status 1 if an exercise fails")
    check.add_argument("--again", action="store_true", help="test also what passed before and did not change")
    watch = command(
        "watch",
        lambda args: practice_report.watch(args.project, args.language),
        "test a working copy whenever a file is saved",
    )
    for with_project in (check, watch):
        with_project.add_argument("--project", type=int, choices=list(STAGES), help="only this project's working copy")
    hint = command(
        "hint",
        lambda args: practice_report.hint(args.name, args.level, args.language),
        "print a hint for an exercise",
    )
    hint.add_argument("--level", type=int, choices=[1, 2], default=1, help="2: with the outline of the solution")
    reset = command(
        "reset",
        lambda args: practice_report.reset(args.name, args.language),
        "make the function of an exercise blank again",
    )
    show = command(
        "show",
        lambda args: practice_report.show(args.name, args.language),
        "print the solution of an exercise",
    )
    for with_name in (hint, reset, show):
        with_name.add_argument("name", nargs="?", default="")
    items = command(
        "checklist",
        lambda args: project_checklist.report(args.plan, args.language),
        "run the check list's tests on this repository",
    )
    items.add_argument("--plan", type=int, help="only this stage of the study plan, 1 to 6")

    arguments = parser.parse_args()
    try:
        status: int = arguments.run(arguments)
    except CommandError as error:
        return error.report(arguments.language)
    except BrokenPipeError:  # `… | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


if __name__ == "__main__":
    sys.exit(main())
