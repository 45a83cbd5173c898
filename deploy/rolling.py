"""`make deploy`: deploy a version without failing requests. `python3 -m deploy.rolling -h` lists the options.

The image of the new version is tagged `current`, the database is migrated, and then the API replicas and workers are
replaced one at a time: a new container starts; once it is ready, the proxy stops sending requests to an old one; the
old one finishes its work and stops. So a version that never becomes ready is detected before an old container is
stopped. If some were replaced already, they are rolled back to `previous`. At the end there are `API_REPLICAS` and
`WORKER_REPLICAS` containers.

The old version runs on the migrated database for a while, and permanently after a rollback: see docs/deploy.md.
"""

import argparse
import fcntl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from deploy.stack import ROOT, DeployError, Stack, setting

_STOP_SECONDS = 75  # longer than the service's own shutdown timeout
_SETTLE_SECONDS = 2  # the proxy may still send a request that it has just read to a removed replica
_LOG_LINES = "15"


class NotReady(DeployError):
    """A new container did not become ready and was removed."""


@dataclass
class Deployment:
    """One deployment.

    Attributes:
        ready_seconds: Maximum time for a container to become ready.
        started: The containers that this deployment started, by service.
    """

    stack: Stack
    ready_seconds: float
    started: dict[str, list[str]] = field(default_factory=lambda: {"api": [], "worker": []})

    def run(self) -> None:
        """Replace the running version by `candidate`.

        Raises:
            NotReady: if a new container does not become ready; the previous version keeps running.
            DeployError: if a command of the container engine fails.
        """
        stack, image = self.stack, self.stack.image
        wanted = {service: _replicas(service) for service in self.started}
        if not stack.ids("api"):
            self._tag("candidate", "current")
            self._start_everything()
            return
        self._tag("current", "previous")
        self._tag("candidate", "current")
        try:
            say("migrating the database")
            stack.composed("run", "-T", "--rm", "--no-deps", "migrate")
            for service, replicas in wanted.items():
                self._replace(service, stack.ids(service, stopped_too=True), replicas)
        except DeployError:
            say(f"the deployment failed: rolling back to {image}:previous")
            self._tag("previous", "current")
            failed, self.started = self.started, {"api": [], "worker": []}
            for service, containers in failed.items():
                self._replace(service, containers, len(containers))
            raise
        finally:
            self._route()

    def _start_everything(self) -> None:
        say("no container is running: starting all services")
        self.stack.composed("up", "-d")
        for service in self.started:
            for container in self.stack.ids(service):
                self._wait(container)

    def _replace(self, service: str, old: Sequence[str], wanted: int) -> None:
        """Replace the old containers of a service by the wanted number of `current` ones."""
        for number in range(max(wanted, len(old))):
            if number < wanted:
                new = self._start(service)
                self._wait(new)
                self.started[service].append(new)
            if number >= len(old):
                continue
            victim = old[number]
            if service == "api":
                self._route(*(one for one in self.stack.ids("api") if one != victim))
                time.sleep(_SETTLE_SECONDS)
            self._stop(victim)

    def _start(self, service: str) -> str:
        there = self.stack.ids(service, stopped_too=True)
        scale = f"{service}={len(there) + 1}"
        self.stack.composed("up", "-d", "--no-deps", "--no-recreate", "--no-build", "--scale", scale, service)
        new = [one for one in self.stack.ids(service, stopped_too=True) if one not in there]
        if not new:
            raise DeployError(f"no new container was started for {service}")
        for superfluous in new[1:]:  # podman-compose starts all that are missing up to that number
            self.stack.engine("rm", "-f", superfluous)
        say(f"{self.stack.name(new[0])} started")
        return new[0]

    def _wait(self, container: str) -> None:
        """Wait until a container is ready; remove it if it does not become ready in time."""
        started = time.monotonic()
        while not self._is_ready(container):
            if time.monotonic() - started > self.ready_seconds:
                log = self._log_tail(container)
                name = self.stack.name(container)
                self.stack.engine("rm", "-f", container)
                raise NotReady(f"{name} was not ready after {self.ready_seconds:.0f} s. The end of its log:\n{log}")
            time.sleep(1)
        say(f"{self.stack.name(container)} is ready after {time.monotonic() - started:.0f} s")

    def _is_ready(self, container: str) -> bool:
        check = subprocess.run(
            [*self.stack.container, "exec", container, "python", "-m", "shared.healthcheck"],
            capture_output=True,
            check=False,
        )
        return check.returncode == 0

    def _log_tail(self, container: str) -> str:
        logs = subprocess.run(
            [*self.stack.container, "logs", "--tail", _LOG_LINES, container],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return logs.stdout.decode(errors="replace")

    def _route(self, *containers: str) -> None:
        """Make the proxy use only the given replicas; without arguments, all that the name `api` resolves to."""
        addresses = [self.stack.address(container, "front") for container in containers]
        for proxy in self.stack.ids("proxy"):
            self.stack.engine("exec", proxy, "sh", "/etc/proxy/route.sh", *addresses)

    def _stop(self, container: str) -> None:
        name = self.stack.name(container)
        started = time.monotonic()
        self.stack.engine("stop", "-t", str(_STOP_SECONDS), container)
        self.stack.engine("rm", "-f", container)
        say(f"{name} stopped after {time.monotonic() - started:.0f} s")

    def _tag(self, source: str, target: str) -> None:
        self.stack.engine("tag", f"{self.stack.image}:{source}", f"{self.stack.image}:{target}")


def _replicas(service: str) -> int:
    """Return the configured number of containers of a service, as compose reads it."""
    name = f"{service.upper()}_REPLICAS"
    value = setting(name, "2")
    if not value.isdecimal() or int(value) < 1:
        raise DeployError(f"{name} must be a number of at least 1")
    return int(value)


def make_candidate(stack: Stack, image: str | None) -> None:
    """Tag an image `candidate`: the given one, or one that is built from the working tree.

    A name with a registry in it is pulled; any other names a local image.
    """
    candidate = f"{stack.image}:candidate"
    if image:
        if "/" in image:
            say(f"pulling {image}")
            stack.engine("pull", image)
        stack.engine("tag", image, candidate)
        return
    say("building")
    started = time.monotonic()
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, check=False, text=True
    ).stdout.strip()
    label = f"org.opencontainers.image.revision={revision}"
    stack.run([*stack.build, "--target", "project4", "--label", label, "-t", candidate, "."])
    say(f"built in {time.monotonic() - started:.0f} s")


def say(what: str) -> None:
    """Print a line with the time of day."""
    print(time.strftime("%H:%M:%S"), what, flush=True)


def main() -> int:
    """Deploy; return the exit status: 0, or 1 if the previous version keeps running."""
    parser = argparse.ArgumentParser(prog="make deploy", description=__doc__.splitlines()[0])
    parser.add_argument("--image", help="an image that was built elsewhere; default: build the working tree")
    parser.add_argument("--ready-seconds", type=float, default=120, help="time for a container to become ready")
    arguments = parser.parse_args()
    with (ROOT / "docker-compose.yml").open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _fail("another deployment is running")
        try:
            stack = Stack.here()
            make_candidate(stack, arguments.image)
            Deployment(stack, arguments.ready_seconds).run()
        except DeployError as error:
            return _fail(str(error))
    say("done")
    return 0


def _fail(what: str) -> int:
    print(f"error: {what}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
