"""Run the plan's check list: for each item its tests, why it matters, and the code to read."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from learn.language import Language, Translated
from learn.painter import Painter
from learn.pytest_runner import run_tests
from learn.stages import ROOT, CommandError, echo

FILE = ROOT / "docs" / "checklist.toml"

_TESTED = Translated(en="tested", zh="检查")
_WHY = Translated(en="why", zh="为什么")
_CODE = Translated(en="code", zh="看代码")
_RUNNING = Translated(en="Running {0} tests …", zh="正在运行 {0} 个测试 …")
_COUNT = Translated(en="{0} of {1} passed", zh="已通过 {0}/{1}")


class Item(BaseModel):
    """An item of the check list.

    Attributes:
        id: The plan's number, such as `C1.1`; its first digit is the stage of study, 1 to 6.
        can: The ability that the item stands for.
        places: Citations of definitions, or paths of whole files.
        tests: Node ids of the tests that show it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    can: Translated
    tested: Translated
    why: Translated
    places: list[str]
    tests: list[str]

    @property
    def stage(self) -> int:
        """The plan's stage of study."""
        return int(self.id[1])


@cache
def items() -> Sequence[Item]:
    """Return the check list."""
    return [Item.model_validate(one) for one in tomllib.loads(FILE.read_text("utf-8"))["item"]]


@dataclass(frozen=True)
class ItemResult:
    """The result of an item, with a message for each failed test."""

    item: Item
    failures: Sequence[str]


def run(chosen: Sequence[Item], folder: Path = ROOT) -> list[ItemResult]:
    """Run the tests of some items, in one pytest process."""
    verdicts = run_tests(folder, [test for item in chosen for test in item.tests]) if chosen else {}
    return [
        ItemResult(item, [f"{test}: {verdicts[test].message}" for test in item.tests if not verdicts[test].passed])
        for item in chosen
    ]


def report(stage: int | None, language: Language) -> int:
    """Run the check list, or one stage of it, and print the results.

    Returns:
        The exit status: 0 if every item passes.

    Raises:
        CommandError: if the plan has no such stage.
    """
    chosen = [item for item in items() if stage in {None, item.stage}]
    if not chosen:
        last = max(item.stage for item in items())
        raise CommandError(
            f"the plan has no stage {stage}; it has 1 to {last}", f"大纲没有第 {stage} 阶段，只有 1 到 {last}"
        )
    painter = Painter()
    echo(_RUNNING.in_language(language).format(sum(len(item.tests) for item in chosen)))
    results = run(chosen)
    for result in results:
        _print(result, language, painter)
    done = sum(not result.failures for result in results)
    echo(_COUNT.in_language(language).format(done, len(results)))
    return 0 if done == len(results) else 1


def _print(result: ItemResult, language: Language, painter: Painter) -> None:
    item = result.item
    mark = painter.paint("✗", "31") if result.failures else painter.paint("✓", "32")
    echo(f"{mark} {painter.paint(item.id, '1')} {item.can.in_language(language)}")
    for label, text in (
        (_TESTED, item.tested.in_language(language)),
        (_WHY, item.why.in_language(language)),
        (_CODE, ", ".join(item.places)),
    ):
        echo(f"    {painter.paint(label.in_language(language), '2')}: {text}")
    for line in result.failures:
        echo(f"    {painter.paint(line, '31')}")
