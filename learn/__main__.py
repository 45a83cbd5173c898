"""`python -m learn COMMAND`: print and write the differences between the projects. Each has a `make` target."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable

from learn import pages
from learn.chapters import load, part_of
from learn.differences import compare
from learn.facts import read_facts
from learn.painter import Painter
from learn.stages import ROOT, STAGES, CommandError, echo
from learn.terminal import chapter_lines, details, steps, summary
from local.language import terminal_language


def _diff(arguments: argparse.Namespace) -> int:
    chapter = load().named(arguments.later, arguments.chapter) if arguments.chapter else None
    earlier, later = asyncio.run(read_facts([arguments.earlier, arguments.later]))
    found = compare(earlier, later)
    painter, language = Painter(), arguments.language
    if chapter:
        lines = list(chapter_lines(part_of(found, chapter), painter, language))
    else:
        lines = [
            *summary(found, painter, language),
            *steps(found, painter, language),
            "",
            *details(found, painter, language),
        ]
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
    diff.add_argument("--chapter", default="", help="only the part of a chapter of the later stage")
    diff.add_argument("--language", choices=["en", "zh"], default=terminal_language())
    command("diffs", _diffs, "write the differences as pages into docs/differences/")

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
