"""`agent-api new NAME`: write a small project, with a graph that answers without a key."""

import argparse
from importlib import resources
from pathlib import Path

from shared.errors import ConfigurationError

_FILES = {
    "langgraph.json": "langgraph.json",
    "graph.py": "graph.py",
    "test_graph.py": "test_graph.py",
    "README.md": "README.md",
    "env": ".env",
    "gitignore": ".gitignore",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("folder", type=Path, help="a new or empty folder")


def run(arguments: argparse.Namespace) -> int:
    """Write the files."""
    folder: Path = arguments.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigurationError(f"{folder} is not empty")
        for source, name in _FILES.items():
            text = (resources.files("agent_api") / "starter" / source).read_text(encoding="utf-8")
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write to {folder} ({error.strerror})") from None
    print(f"Created {folder}: {', '.join(_FILES.values())}\nNext: cd {folder} && agent-api dev")
    return 0
