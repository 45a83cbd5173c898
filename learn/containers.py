"""Whether the files of a deployment say what they should. They are read; no container engine is needed for it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_STORES = {"PostgreSQL": re.compile("postgres|pgvector"), "Redis": re.compile("redis|valkey")}  # by their images
_SECRET = re.compile(r"PASSWORD|SECRET|KEY")


def faults(folder: Path) -> list[str]:
    """Return what is wrong with a project's Dockerfile and compose file, in words; nothing where all is well."""
    return [*_faults_of_image(folder / "Dockerfile"), *_faults_of_compose(folder / "docker-compose.yml")]


def _faults_of_image(file: Path) -> Iterator[str]:
    if not file.exists():
        yield "there is no Dockerfile"
        return
    instructions = [line.split() for line in file.read_text("utf-8").splitlines() if re.match(r"[A-Z]+\s", line)]
    if sum(words[0] == "FROM" for words in instructions) < 2:
        yield "the Dockerfile has one step only: what builds an image is then in it"
    users = [words[1] for words in instructions if words[0] == "USER"]
    if not users or any(user.partition(":")[0] in {"0", "root"} for user in users):
        yield "a container runs as root"
    if not any(words[0] == "HEALTHCHECK" for words in instructions):
        yield "the image does not say how its health is checked"


def _faults_of_compose(file: Path) -> Iterator[str]:
    if not file.exists():
        yield "there is no docker-compose.yml"
        return
    services: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text("utf-8"))["services"]
    if not any("build" in service for service in services.values()):
        yield "no service of the compose file is built from this project"
    for store, image in _STORES.items():
        stores = [service for service in services.values() if image.search(service.get("image", ""))]
        if not stores:
            yield f"the compose file does not start {store}"
        elif not all("healthcheck" in service and "volumes" in service for service in stores):
            yield f"{store} has no health check or keeps nothing"
    for name, service in services.items():
        environment = service.get("environment") or {}
        if any(
            _SECRET.search(key) and value and "$" not in str(value) and "/" not in str(value)
            for key, value in environment.items()
        ):
            yield f"a secret of {name} stands in the compose file"
