"""The learner's check list: an item of the plan is done when all of its exercises are solved."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from pydantic import BaseModel, ConfigDict

from learn import exercises, practice
from learn.exercises import Copies
from learn.language import Language, Translated
from learn.painter import Painter
from learn.stages import ROOT, CommandError, echo

FILE = ROOT / "docs" / "checklist.toml"

_COUNT = Translated(
    en="{0} of {1} items done, {2} of {3} exercises solved", zh="已完成 {0}/{1} 项，做完 {2}/{3} 道练习"
)
_PROJECT = Translated(en="{0} (project {1})", zh="{0}（项目 {1}）")
_NEXT = Translated(
    en="An item is done when all of its exercises are solved. Next: {0}, with `{1}`.",
    zh="一项的练习全部做完，这一项才算完成。下一道：{0}，运行 `{1}`。",
)


class Item(BaseModel):
    """An item of the check list.

    Attributes:
        id: The plan's number, such as `C1.1`; its first digit is the stage of the plan, 1 to 6.
        can: The ability that the item stands for.
        places: Citations of definitions, or paths of whole files.
        tests: Node ids of the tests that show it in this repository.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    can: Translated
    tested: Translated
    why: Translated
    places: list[str]
    tests: list[str]

    @property
    def plan(self) -> int:
        """The stage of the plan."""
        return int(self.id[1])


@cache
def items() -> Sequence[Item]:
    """Return the check list."""
    return [Item.model_validate(item) for item in tomllib.loads(FILE.read_text("utf-8"))["item"]]


def items_of_plan(plan: int | None) -> Sequence[Item]:
    """Return the items of one stage of the plan, or all.

    Raises:
        CommandError: if the plan has no such stage.
    """
    chosen = [item for item in items() if plan in {None, item.plan}]
    if not chosen:
        last = max(item.plan for item in items())
        raise CommandError(
            f"the plan has no stage {plan}; PLAN is 1 to {last}", f"大纲没有第 {plan} 阶段；PLAN 的取值是 1 到 {last}"
        )
    return chosen


@dataclass(frozen=True)
class Task:
    """An exercise of the foundations, or a function of a project to write.

    Attributes:
        project: The number of the project, or None for the foundations.
    """

    name: str
    items: Sequence[str]
    project: int | None
    solved: bool

    @property
    def command(self) -> str:
        """The command that judges it."""
        return (
            f"make learn EXERCISE={self.name}"
            if self.project is None
            else f"make practice-check PROJECT={self.project}"
        )

    def shown(self, language: Language) -> str:
        """Return its name, with the project."""
        if self.project is None:
            return self.name
        return _PROJECT.in_language(language).format(self.name, self.project)


def tasks(copies: Copies | None = None) -> Sequence[Task]:
    """Return all exercises in the order in which to solve them, and whether they are solved.

    Args:
        copies: The learner's copies; the folder above them has the working copies of the projects.
    """
    copies = copies or Copies()
    foundations = [
        Task(exercise.name, exercise.items, None, copies.is_solved(exercise)) for exercise in exercises.load()
    ]
    solved = practice.solved_names(copies.folder.parent)
    return [
        *foundations,
        *(
            Task(function.name, function.items, function.project, function.name in solved)
            for function in practice.exercises()
        ),
    ]


def is_done(item: Item, of: Sequence[Task]) -> bool:
    """Return whether all exercises of an item are solved."""
    return all(task.solved for task in of if item.id in task.items)


def report(plan: int | None, language: Language, copies: Copies | None = None) -> int:
    """Print the learner's check list, or one stage of the plan.

    Returns:
        The exit status, 0.

    Raises:
        CommandError: if the plan has no such stage.
    """
    chosen = items_of_plan(plan)
    painter = Painter()
    every = tasks(copies)
    for item in chosen:
        mark = painter.paint("✓", "32") if is_done(item, every) else "·"
        echo(f"{mark} {painter.paint(item.id, '1')} {item.can.in_language(language)}")
        for task in every:
            if item.id in task.items:
                echo(f"    {painter.paint('✓', '32') if task.solved else '·'} {task.shown(language)}")
    counted = [task for task in every if {item.id for item in chosen} & set(task.items)]
    numbers = (sum(is_done(item, every) for item in chosen), len(chosen), sum(task.solved for task in counted))
    echo(painter.paint(_COUNT.in_language(language).format(*numbers, len(counted)), "1"))
    following = next((task for task in counted if not task.solved), None)
    if following:
        echo(_NEXT.in_language(language).format(following.shown(language), following.command))
    return 0
