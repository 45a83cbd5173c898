"""The containers of `docker-compose.yml`, whichever engine runs them.

`CONTAINER`, `BUILD` and `COMPOSE` are the commands to use, by default those of the first engine whose `info` succeeds:
a `docker` command without an engine behind it is common.
"""

import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

_ENGINES = {
    "docker": {"CONTAINER": "docker", "BUILD": "docker build", "COMPOSE": "docker compose"},
    "podman": {"CONTAINER": "podman", "BUILD": "podman build", "COMPOSE": "podman compose"},
}


class DeployError(Exception):
    """Something did not work, with a line that says what."""


@dataclass(frozen=True)
class Stack:
    """The containers of one project.

    Attributes:
        container: The engine's command, as a list of words.
        build: The one that builds an image.
        compose: The one that reads `docker-compose.yml`.
        project: The name that the project's containers, networks and volumes begin with.
        image: The name of stage 4's image, without a tag.
    """

    container: list[str]
    build: list[str]
    compose: list[str]
    project: str
    image: str

    @classmethod
    def here(cls) -> "Stack":
        """Find the engine, and read from the environment and `.env` what the stack is called.

        Raises:
            DeployError: if no engine answers.
        """
        commands = {name: os.environ.get(name, "") for name in ("CONTAINER", "BUILD", "COMPOSE")}
        if not all(commands.values()):
            commands = _engine() | {name: command for name, command in commands.items() if command}
        return cls(
            container=shlex.split(commands["CONTAINER"]),
            build=shlex.split(commands["BUILD"]),
            compose=shlex.split(commands["COMPOSE"]),
            project=setting("COMPOSE_PROJECT_NAME", re.sub("[^a-z0-9_-]", "", ROOT.name.lower())),
            image=setting("IMAGE", "agent-service"),
        )

    def run(self, command: list[str], *, stdin: bytes | None = None) -> str:
        """Run a command to its end, and return what it printed.

        Raises:
            DeployError: if it fails, with the end of what it said.
        """
        done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-5:]
            raise DeployError(f"`{shlex.join(command)}` failed ({done.returncode}):\n  " + "\n  ".join(said))
        return done.stdout.decode(errors="replace").strip()

    def engine(self, *arguments: str) -> str:
        """Run one of the engine's commands."""
        return self.run([*self.container, *arguments])

    def composed(self, *arguments: str) -> str:
        """Run one of compose's commands."""
        return self.run([*self.compose, *arguments])

    def ids(self, service: str, *, stopped_too: bool = False) -> list[str]:
        """Return the ids of a service's containers, the oldest first."""
        labels = {"com.docker.compose.project": self.project, "com.docker.compose.service": service}
        filters = [word for label, value in labels.items() for word in ("--filter", f"label={label}={value}")]
        listed = self.engine("ps", "--no-trunc", "-q", *(["-a"] if stopped_too else []), *filters).split()
        if not listed:
            return []
        made = json.loads(self.engine("inspect", "--type", "container", *listed))
        # One-off containers of `compose run` bear the service's name too.
        made = [one for one in made if _label(one, "com.docker.compose.oneoff").lower() != "true"]
        return [one["Id"] for one in sorted(made, key=lambda one: str(one["Created"]))]

    def only(self, service: str) -> str:
        """Return the id of the one container of a service.

        Raises:
            DeployError: if it does not run.
        """
        ids = self.ids(service)
        if not ids:
            raise DeployError(f"{service} does not run; `docker compose up -d` starts everything")
        return ids[0]

    def address(self, container: str, network: str) -> str:
        """Return a container's address in one of the project's networks."""
        described = json.loads(self.engine("inspect", "--type", "container", container))[0]
        networks = described["NetworkSettings"]["Networks"]
        address: str = networks[f"{self.project}_{network}"]["IPAddress"]
        return address

    def name(self, container: str) -> str:
        """Return what people call a container."""
        return self.engine("inspect", "--type", "container", "--format", "{{.Name}}", container).lstrip("/")


def _label(described: dict[str, dict[str, dict[str, str]]], name: str) -> str:
    return (described["Config"]["Labels"] or {}).get(name, "")


def _engine() -> dict[str, str]:
    for engine, commands in _ENGINES.items():
        try:
            asked = subprocess.run([engine, "info"], capture_output=True, check=False)
        except OSError:
            continue
        if asked.returncode == 0:
            return commands
    raise DeployError("no container engine answers: neither `docker info` nor `podman info` succeeds")


def setting(name: str, default: str) -> str:
    """Return what the environment or `.env` says, as compose reads them, or the default."""
    if value := os.environ.get(name):
        return value
    file = ROOT / os.environ.get("ENV_FILE", ".env")
    lines = file.read_text().splitlines() if file.is_file() else []
    for line in lines:
        key, equals, value = line.partition("=")
        if equals and key.strip() == name and (value := value.partition(" #")[0].strip().strip("\"'")):
            return value
    return default
