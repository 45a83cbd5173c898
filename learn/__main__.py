"""`python -m learn COMMAND`: the tools of the course. `make` names the same commands."""

import argparse
import asyncio
import sys
from collections.abc import Callable

from learn import checklist, pages, practice_report
from learn.differences import difference
from learn.facts import read_facts
from learn.language import of_terminal
from learn.stages import STAGES, CannotDo, say
from learn.terminal import Painter, details, summary


def _diff(arguments: argparse.Namespace) -> int:
    earlier, later = asyncio.run(read_facts([arguments.earlier, arguments.later]))
    found = difference(earlier, later)
    painter = Painter()
    for line in [*summary(found, painter), "", *details(found, painter)]:
        say(line)
    return 0


def _diffs(_arguments: argparse.Namespace) -> int:
    for path in pages.write(asyncio.run(read_facts(list(STAGES)))):
        say(str(path))
    return 0


def main() -> int:
    """Run a command.

    Returns:
        An exit status: 0, 1 where something is not as it should be, 2 after one line that says why it cannot be done.
    """
    parser = argparse.ArgumentParser(prog="python -m learn", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:  # noqa: A002  argparse's own name
        added = commands.add_parser(name, help=help)
        added.set_defaults(run=run)
        return added

    diff = command("diff", _diff, "what a stage adds to the one before")
    diff.add_argument("earlier", type=int, choices=list(STAGES))
    diff.add_argument("later", type=int, choices=list(STAGES))
    command("diffs", _diffs, "write the same as pages into docs/differences/")

    lay_out = command("practice", lambda given: practice_report.lay_out(given.stage, given.language), "blank functions")
    lay_out.add_argument("stage", type=int, choices=list(STAGES))
    check = command("practice-check", lambda given: practice_report.check(given.stage, given.language), "judge them")
    check.add_argument("--stage", type=int, choices=list(STAGES), help="only this one's working copy")
    show = command("practice-show", lambda given: practice_report.show(given.name, given.language), "one's solution")
    show.add_argument("name")
    items = command("checklist", lambda given: checklist.report(given.stage, given.language), "run the check list")
    items.add_argument("--stage", type=int, help="only this stage of the plan, 1 to 6")
    for spoken in (lay_out, check, show, items):
        spoken.add_argument("--language", choices=["en", "zh"], default=of_terminal())

    arguments = parser.parse_args()
    try:
        status: int = arguments.run(arguments)
    except CannotDo as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except BrokenPipeError:  # `… | head`
        sys.stderr.close()
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
