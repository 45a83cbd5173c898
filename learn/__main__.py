"""`python -m learn COMMAND`: print and write the differences between the projects. Each has a `make` target."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable

from learn import pages
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

    arguments = parser.parse_args()
    try:
        status: int = arguments.run(arguments)
    except CommandError as error:
        return error.report(terminal_language())
    except BrokenPipeError:  # `… | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


if __name__ == "__main__":
    sys.exit(main())
