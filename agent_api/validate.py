"""`agent-api validate`: check a `langgraph.json`, and print one line for each key."""

import argparse
import json
from pathlib import Path
from typing import Any

from loguru import logger

from agent_api.project import enter
from project4_agent_api import project_http
from project4_agent_api.accounts.project_auth import ProjectAuth
from project4_agent_api.graphs import langgraph_json
from project4_agent_api.graphs.project_file import IMAGE_KEYS, ProjectFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("-c", "--config", type=Path, default=Path("langgraph.json"), help="default: langgraph.json")


def run(arguments: argparse.Namespace) -> int:
    """Read the file, and import its graphs, `auth` and `http.app`. The first fault is one line, with status 2."""
    config = enter(arguments.config)
    logger.remove()
    logger.add(lambda message: print(f"warning: {_shortened(message.record['message'], config)}"), level="WARNING")
    project = langgraph_json.read(config)
    graphs = project.graphs()
    ProjectAuth.load(project, production=False)
    project_http.load_app(project)
    content: dict[str, Any] = json.loads(config.read_bytes())
    for key, value in content.items():
        print(f"{key}: {_describe(key, value)}")
    for name, graph in graphs.items():
        print(f"graph {name}: {type(graph.value).__name__}")
    return 0


def _shortened(message: str, config: Path) -> str:
    return message.removeprefix(f"{config}: ")


def _describe(key: str, value: object) -> str:
    if key in IMAGE_KEYS:
        return "without effect here: for building an image"
    if key not in ProjectFile.model_fields or value is None:
        return "ignored"
    names = value if isinstance(value, dict | list) else [value]
    return "valid: " + ", ".join(str(name) for name in names)
