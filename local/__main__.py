"""`python -m local project1` runs a stage and what it needs; `python -m local --stop` stops all that run.

`python -m local project3 reindex` runs one of a stage's commands, with what it needs: beside the stage where that
runs, and else in place of it.
"""

import argparse
import sys

from local.launcher import launch
from local.state import stop_all
from shared.errors import ConfigurationError

parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
parser.add_argument("stage", nargs="?", help="project1, project2, …")
parser.add_argument("command", nargs=argparse.REMAINDER, help="one of the stage's own commands, in place of serving")
parser.add_argument("--stop", action="store_true", help="stop every stage that was started in this folder")
arguments = parser.parse_args()
if arguments.stop == bool(arguments.stage):
    parser.error("say either a stage or --stop")
try:
    sys.exit(stop_all() if arguments.stop else launch(arguments.stage, arguments.command))
except ConfigurationError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
