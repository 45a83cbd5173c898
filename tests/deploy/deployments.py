"""Deployments under load, and versions that are broken on purpose."""

import asyncio
import json
import sys

from deploy.stack import ROOT
from tests.deploy.load import STREAMS, Load
from tests.deploy.service import Service

BROKEN = [(what, how) for how in ("sleeps", "exits") for what in ("api", "worker")]


async def loaded(service: Service) -> Load:
    """Make a load with accounts of its own."""
    return Load(service.url, [service.sign_up() for _ in range(STREAMS)])


async def make(*arguments: str) -> int:
    """Run one of the Makefile's targets while the load goes on; returns its exit status."""
    process = await asyncio.create_subprocess_exec("make", "--no-print-directory", *arguments, cwd=ROOT)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:  # the load has failed
            process.terminate()
            await process.wait()


async def assert_nothing_was_lost(during: str, load: Load) -> None:
    """Print the counts of a load that has ended, and check them."""
    lost = await load.lost()
    print(f"during a {during}: {load}, {lost.total()} lost {dict(lost)}", file=sys.stderr)  # noqa: T201  a report for people
    assert load.answered > 0
    assert load.streams >= STREAMS
    assert not load.failed
    assert not load.broken
    assert not lost


def image_id(service: Service, tag: str) -> str:
    """Return the id of one of stage 4's images."""
    described = service.stack.engine("image", "inspect", "--format", "{{.Id}}", f"{service.stack.image}:{tag}")
    return described.removeprefix("sha256:")


def version_without(service: Service, what: str, how: str = "sleeps") -> str:
    """Make an image in which one kind of container sleeps or exits, and everything else is as it was."""
    stack = service.stack
    name = f"{stack.image}:{what}-{how}"
    case = {"api": '""', "worker": "worker"}[what]
    command = {"sleeps": "exec sleep 600", "exits": "exit 1"}[how]
    script = f'case "$1" in {case}) {command};; esac; exec python -m project4_agent_api "$@"'
    entrypoint = json.dumps(["sh", "-c", script, "service"])
    recipe = f"FROM {stack.image}:current\nENTRYPOINT {entrypoint}\n".encode()
    stack.run([*stack.container, "build", "-q", "-t", name, "-"], stdin=recipe)
    return name
