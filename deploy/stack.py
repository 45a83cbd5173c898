"""Control the containers of `docker-compose.yml` with Docker or Podman.

`CONTAINER`, `BUILD` and `COMPOSE` set the commands to use. By default they are those of the first engine whose `info`
succeeds, because a `docker` command without a running engine is common.
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
    """A step failed; the message is one line for the operator."""


@dataclass(frozen=True)
class Stack:
    """The containers of one compose project.

    Attributes:
        container: The engine's command, as a list of words.
        project: The prefix of the project's containers, networks and volumes.
        image: The name of stage 4's image, without a tag.
    """

    container: list[str]
    build: list[str]
    compose: list[str]
    project: str
    image: str

    @classmethod
    def here(cls) -> "Stack":
        """Detect the engine, and read the names of the project and the image from the environment and `.env`.

        Raises:
            DeployError: if no engine is running.
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
        """Run a command to its end, and return its output.

        Raises:
            DeployError: if it fails, with the end of its error output.
        """
        done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines()[-5:]
            raise DeployError(f"`{shlex.join(command)}` failed ({done.returncode}):\n  " + "\n  ".join(lines))
        return done.stdout.decode(errors="replace").strip()

    def engine(self, *arguments: str) -> str:
        """Run a command of the engine."""
        return self.run([*self.container, *arguments])

    def composed(self, *arguments: str) -> str:
        """Run a command of compose."""
        return self.run([*self.compose, *arguments])

    def ids(self, service: str, *, stopped_too: bool = False) -> list[str]:
        """Return the ids of a service's containers, oldest first."""
        labels = {"com.docker.compose.project": self.project, "com.docker.compose.service": service}
        filters = [word for label, value in labels.items() for word in ("--filter", f"label={label}={value}")]
        listed = self.engine("ps", "--no-trunc", "-q", *(["-a"] if stopped_too else []), *filters).split()
        if not listed:
            return []
        described = json.loads(self.engine("inspect", "--type", "container", *listed))
        # One-off containers of `compose run` have the service's label, too.
        permanent = [one for one in described if _label(one, "com.docker.compose.oneoff").lower() != "true"]
        return [one["Id"] for one in sorted(permanent, key=lambda one: str(one["Created"]))]

    def only(self, service: str) -> str:
        """Return the id of a service's only container.

        Raises:
            DeployError: if it is not running.
        """
        ids = self.ids(service)
        if not ids:
            raise DeployError(f"{service} is not running; `docker compose up -d` starts all services")
        return ids[0]

    def address(self, container: str, network: str) -> str:
        """Return a container's address in one of the project's networks."""
        described = json.loads(self.engine("inspect", "--type", "container", container))[0]
        networks = described["NetworkSettings"]["Networks"]
        address: str = networks[f"{self.project}_{network}"]["IPAddress"]
        return address

    def name(self, container: str) -> str:
        """Return the name of a container."""
        return self.engine("inspect", "--type", "container", "--format", "{{.Name}}", container).lstrip("/")


def _label(described: dict[str, dict[str, dict[str, str]]], name: str) -> str:
    return (described["Config"]["Labels"] or {}).get(name, "")


def _engine() -> dict[str, str]:
    for engine, commands in _ENGINES.items():
        try:
            info = subprocess.run([engine, "info"], capture_output=True, check=False)
        except OSError:
            continue
        if info.returncode == 0:
            return commands
    raise DeployError("no container engine is running: neither `docker info` nor `podman info` succeeds")


def setting(name: str, default: str) -> str:
    """Return a value from the environment or `.env`, as compose reads them, or the default."""
    if value := os.environ.get(name):
        return value
    file = ROOT / os.environ.get("ENV_FILE", ".env")
    lines = file.read_text().splitlines() if file.is_file() else []
    for line in lines:
        key, equals, value = line.partition("=")
        if equals and key.strip() == name and (value := value.partition(" #")[0].strip().strip("\"'")):
            return value
    return default
