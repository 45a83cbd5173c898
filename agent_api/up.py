"""`agent-api up`: run the API and a worker, with the services that the environment names."""

import argparse
from pathlib import Path

from agent_api.command import PACKAGE
from agent_api.project import DATA, enter
from local.launcher import configured_environment, launch_package
from local.state import StageState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("-c", "--config", type=Path, help="a langgraph.json, in whose folder the graphs run")
    parser.add_argument("--host", help="default: HOST, or 127.0.0.1")
    parser.add_argument("--port", type=int, help="default: PORT, or 8004")


def run(arguments: argparse.Namespace) -> int:
    """Migrate the database, then serve until a stop signal."""
    config = enter(arguments.config) if arguments.config else None
    environment = {"APP_ENV": "production"} | configured_environment()
    values = {"LANGGRAPH_CONFIG": config, "HOST": arguments.host, "PORT": arguments.port}
    environment |= {name: str(value) for name, value in values.items() if value is not None}
    return launch_package(PACKAGE, StageState("agent-api", DATA), environment, services={})
