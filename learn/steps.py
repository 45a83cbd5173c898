"""The five steps in which stage 4 is read, each a group of its packages."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.routing import APIRoute

from learn.differences import Difference, NewFile
from learn.facts import shared_imports
from learn.stages import STAGES

STAGE = STAGES[4]


@dataclass(frozen=True)
class Step:
    """A step, with its title in English and Chinese, and the packages of stage 4 that it reads."""

    name: str
    title: str
    title_zh: str
    packages: Sequence[str]


STEPS = {
    step.name: step
    for step in (
        Step("accounts", "accounts", "账号与认证", ["accounts"]),
        Step("runs", "threads and runs", "会话与运行", ["assistants", "threads", "runs", "crons"]),
        Step("streams", "streams", "事件流", ["events", "streams", "page"]),
        Step("agents", "graphs and agents", "图与 Agent", ["graphs", "agents", "store"]),
        Step("operations", "operations", "运维", ["operations", "core", "migrations"]),
    )
}


@dataclass(frozen=True)
class StepDifference:
    """The part of the difference between stages 3 and 4 that a step reads.

    Attributes:
        shared_modules: Modules of `shared` that the step's files import and no earlier stage does, with summaries.
        files: The step's files. The last step also has the stage's top-level modules: its processes.
    """

    step: Step
    operations: Sequence[tuple[str, str]]
    shared_modules: Sequence[tuple[str, str]]
    files: Sequence[NewFile]

    @property
    def number(self) -> int:
        """The step's place in the order of reading, from 1."""
        return list(STEPS).index(self.step.name) + 1


def part_of(found: Difference, step: Step) -> StepDifference:
    """Return a step's part of the difference between stages 3 and 4."""
    folders = {*step.packages, *([""] if step is list(STEPS.values())[-1] else [])}
    files = [file for file in found.new_files if file.path.rpartition("/")[0].partition("/")[0] in folders]
    sources = [found.later.files[file.path] for file in files if file.path.endswith(".py")]
    imported = set(shared_imports(sources))
    names = [name for file in files for name in _operations(file.path)]
    return StepDifference(
        step,
        [(name, found.operations[name].summary) for name in dict.fromkeys(names) if name in found.operations],
        [(path, summary) for path, summary in found.shared_modules.items() if path in imported],
        files,
    )


def _operations(path: str) -> list[str]:
    """Return the operations of a module of routes, or nothing for another file."""
    if not path.endswith("routes.py"):
        return []
    module = importlib.import_module(f"{STAGE.package}.{path.removesuffix('.py').replace('/', '.')}")
    routers = [value for value in vars(module).values() if isinstance(value, APIRouter)]
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return [f"{method} {route.path}" for route in routes for method in sorted(route.methods or ())]
