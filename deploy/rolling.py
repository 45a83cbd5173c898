"""`make deploy`: another version, without a request that fails. `python3 -m deploy.rolling -h` says what it takes.

The new version's image becomes `current`, the database is migrated, and then each replica of the API and each worker is
replaced, one at a time: a new one is started beside them; when it is ready the proxy is told to leave an old one out;
the old one finishes what it has begun, and ends. So a version that never becomes ready is found out before anything of
the old one has been stopped, and `previous` is put back where some had been replaced already. In the end there are as
many as `API_REPLICAS` and `WORKER_REPLICAS` say.

Migrations come first and the old version lives with them for a while, and for good after a rollback: see
docs/deploy.md.
"""

import argparse
import fcntl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from deploy.stack import ROOT, DeployError, Stack, setting

_STOP_SECONDS = 75  # longer than the service gives open requests
_SETTLE_SECONDS = 2  # a request that the proxy has just read may still go to a replica that it was told to leave out
_LOG_LINES = "15"


class NotReady(DeployError):
    """A new container did not become ready, and is gone again."""


@dataclass
class Deployment:
    """One run of the tool.

    Attributes:
        stack: What is deployed to.
        ready_seconds: How long a container may take to become ready.
        fresh: The containers that this run has started, by service.
    """

    stack: Stack
    ready_seconds: float
    fresh: dict[str, list[str]] = field(default_factory=lambda: {"api": [], "worker": []})

    def run(self) -> None:
        """Make `candidate` the version that runs.

        Raises:
            NotReady: if it cannot be; then the version before runs as if nothing had been.
            DeployError: if the engine does not do as it is told.
        """
        stack, image = self.stack, self.stack.image
        wanted = {service: _replicas(service) for service in self.fresh}
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
            say(f"it failed: back to {image}:previous")
            self._tag("previous", "current")
            begun, self.fresh = self.fresh, {"api": [], "worker": []}
            for service, containers in begun.items():
                self._replace(service, containers, len(containers))
            raise
        finally:
            self._route()

    def _start_everything(self) -> None:
        say("nothing runs yet: starting everything")
        self.stack.composed("up", "-d")
        for service in self.fresh:
            for container in self.stack.ids(service):
                self._wait(container)

    def _replace(self, service: str, old: Sequence[str], wanted: int) -> None:
        """Replace some of a service's containers by as many as are wanted, of the version that is `current`."""
        for number in range(max(wanted, len(old))):
            if number < wanted:
                new = self._start(service)
                self._wait(new)
                self.fresh[service].append(new)
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
            raise DeployError(f"{service} was to get a container, and got none")
        for superfluous in new[1:]:  # podman-compose makes each one that is missing below that number
            self.stack.engine("rm", "-f", superfluous)
        say(f"{self.stack.name(new[0])} is started")
        return new[0]

    def _wait(self, container: str) -> None:
        """Wait until a container is ready; remove it if it is not in time."""
        started = time.monotonic()
        while not self._is_ready(container):
            if time.monotonic() - started > self.ready_seconds:
                said = self._last_words(container)
                name = self.stack.name(container)
                self.stack.engine("rm", "-f", container)
                raise NotReady(f"{name} was not ready after {self.ready_seconds:.0f} s. Its last words:\n{said}")
            time.sleep(1)
        say(f"{self.stack.name(container)} is ready, after {time.monotonic() - started:.0f} s")

    def _is_ready(self, container: str) -> bool:
        asked = subprocess.run(
            [*self.stack.container, "exec", container, "python", "-m", "shared.healthcheck"],
            capture_output=True,
            check=False,
        )
        return asked.returncode == 0

    def _last_words(self, container: str) -> str:
        told = subprocess.run(
            [*self.stack.container, "logs", "--tail", _LOG_LINES, container],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return told.stdout.decode(errors="replace")

    def _route(self, *containers: str) -> None:
        """Tell the proxy which replicas there are; without any, to ask for their name again."""
        addresses = [self.stack.address(container, "front") for container in containers]
        for proxy in self.stack.ids("proxy"):
            self.stack.engine("exec", proxy, "sh", "/etc/proxy/route.sh", *addresses)

    def _stop(self, container: str) -> None:
        name = self.stack.name(container)
        started = time.monotonic()
        self.stack.engine("stop", "-t", str(_STOP_SECONDS), container)
        self.stack.engine("rm", "-f", container)
        say(f"{name} has finished, after {time.monotonic() - started:.0f} s")

    def _tag(self, source: str, target: str) -> None:
        self.stack.engine("tag", f"{self.stack.image}:{source}", f"{self.stack.image}:{target}")


def _replicas(service: str) -> int:
    """Return how many containers a service is to have, as compose reads it."""
    name = f"{service.upper()}_REPLICAS"
    value = setting(name, "2")
    if not value.isdecimal() or int(value) < 1:
        raise DeployError(f"{name} is to be a number, 1 at least")
    return int(value)


def make_candidate(stack: Stack, image: str | None) -> None:
    """Build the working tree, or take an image that was built elsewhere, and call it `candidate`.

    A name with a registry in it is fetched; any other is an image of this machine.
    """
    candidate = f"{stack.image}:candidate"
    if image:
        if "/" in image:
            say(f"fetching {image}")
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
    """Print a line with the time of the day."""
    print(time.strftime("%H:%M:%S"), what, flush=True)


def main() -> int:
    """Deploy. Returns an exit status: 0, or 1 where the version before runs on."""
    parser = argparse.ArgumentParser(prog="make deploy", description=__doc__.splitlines()[0])
    parser.add_argument("--image", help="an image that was built elsewhere; without it the working tree is built")
    parser.add_argument("--ready-seconds", type=float, default=120, help="how long a new container may take")
    arguments = parser.parse_args()
    with (ROOT / "docker-compose.yml").open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _fail("another deployment is under way")
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
