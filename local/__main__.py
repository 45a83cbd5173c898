"""`python -m local project1` runs a stage and its services; `python -m local --stop` stops all running stages.

`python -m local project3 reindex` runs a command of a stage: with the services of the running stage, or with services
started for it. `python -m local --chapter agents project4` runs a chapter of a stage.
"""

import argparse
import sys

from local.language import say_error
from local.launcher import launch
from local.state import stop_all
from shared.errors import ConfigurationError

parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
parser.add_argument("stage", nargs="?", help="project1, project2, …")
parser.add_argument("command", nargs=argparse.REMAINDER, help="a command of the stage, instead of serving")
parser.add_argument("--chapter", default="", help="serve a chapter of the stage")
parser.add_argument("--stop", action="store_true", help="stop all stages that were started in this folder")
arguments = parser.parse_args()
if arguments.stop == bool(arguments.stage):
    parser.error("give either a stage or --stop")
if arguments.chapter and arguments.command:
    parser.error("give either a chapter or a command")
try:
    sys.exit(stop_all() if arguments.stop else launch(arguments.stage, arguments.command, chapter=arguments.chapter))
except ConfigurationError as error:
    say_error(error)
    sys.exit(2)
