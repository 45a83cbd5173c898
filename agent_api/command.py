"""The command line of `agent-api`.

Modules of a subcommand are imported when it runs: some of them take seconds, or need the extra `embedded`.
"""

import argparse
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from agent_api.project import environment_of_running_services
from local.language import say_error
from local.python import python, python_path
from shared.errors import ConfigurationError

DISTRIBUTION = "ai-backend-capstones"
PACKAGE = "project4_agent_api"

# Each module has `add_arguments(parser)` and `run(arguments)`, which returns the exit status.
_COMMANDS = {
    "dev": ("agent_api.dev", "run the graphs of a langgraph.json here, and reload them when they change"),
    "up": ("agent_api.up", "run the API and a worker with the services that the environment names"),
    "new": ("agent_api.new", "create a project with a graph and its test"),
    "validate": ("agent_api.validate", "check a langgraph.json, and report each of its keys"),
    "eval": ("agent_api.evaluation.command", "run the examples of datasets, and score the answers"),
    "dataset": ("agent_api.evaluation.from_feedback", "turn rated runs into a dataset"),
    "import": ("agent_api.importing.command", "copy data from another server of LangGraph's API"),
}
# Commands of the package. Their arguments are passed on.
FORWARDED = {
    "serve": "serve the API",
    "worker": "execute runs",
    "migrate": "bring the database up to date",
    "reindex": "embed the documents and the store with another model",
    "create-admin": "create an account of an administrator",
    "set-role": "set the role of an account",
    "deactivate": "deactivate an account",
    "activate": "activate a deactivated account",
    "adopt-documents": "move the documents uploaded without accounts to an account",
    "runs": "list the runs of all users",
    "stop-run": "stop a run",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand, and return its exit status: 2 after a one-line error message."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in FORWARDED:
            _forward(arguments[0], arguments[1:])
        parser = _parser(arguments[0] if arguments else None)
        parsed = parser.parse_args(arguments)
        if parsed.command is None:
            parser.print_help()
            return 2
        status: int = _module(parsed.command).run(parsed)
    except ConfigurationError as error:
        say_error(error)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent-api", description="Run LangGraph graphs behind an API.")
    parser.add_argument("--version", action="version", version=f"agent-api {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, (_, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == chosen:
            _module(name).add_arguments(command)
    for name, text in FORWARDED.items():
        commands.add_parser(name, help=text)
    return parser


def _module(command: str) -> ModuleType:
    try:
        return importlib.import_module(_COMMANDS[command][0])
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the package {error.name} is not installed: `pip install '{DISTRIBUTION}[project4,embedded]'`"
        ) from None


def _version() -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "(checkout)"


def _forward(command: str, arguments: Sequence[str]) -> None:
    """Replace this process with a command of the package, with the services of a running `agent-api dev`."""
    words = [*([] if command == "serve" else [command]), *arguments]
    program = python("-m", PACKAGE, *words)
    os.execve(program[0], program, python_path(environment_of_running_services() | os.environ))  # noqa: S606  no shell is needed
