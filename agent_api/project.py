"""The folder of a developer's project: its `langgraph.json`, and the hidden folder with the data of `agent-api dev`."""

import json
import os
from pathlib import Path

from shared.errors import ConfigurationError

DATA = Path(".agent-api")
_PUBLISHED = DATA / "found-by.json"


def enter(config: Path) -> Path:
    """Change to the folder of a `langgraph.json`, and return the file's absolute path.

    Raises:
        ConfigurationError: if the file does not exist.
    """
    if not config.is_file():
        hint = "" if config.is_absolute() or config.parent != Path() else "; `agent-api new NAME` creates a project"
        raise ConfigurationError(f"there is no {config} in {Path.cwd()}{hint}")
    config = config.resolve()
    os.chdir(config.parent)
    return config


def environment_of_running_services() -> dict[str, str]:
    """Return the addresses of the services that `agent-api dev` has started in this folder; none if it does not run."""
    try:
        environment: dict[str, str] = json.loads(_PUBLISHED.read_text())
    except (OSError, ValueError):
        return {}
    return environment
