"""Run the tests of the check list on this repository: for each item its tests, why it matters, and the code to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from learn.checklist import Item, items_of_plan
from learn.language import Language, Translated
from learn.painter import Painter
from learn.pytest_runner import run_tests
from learn.stages import ROOT, echo

_TESTED = Translated(en="tested", zh="检查")
_WHY = Translated(en="why", zh="为什么")
_CODE = Translated(en="code", zh="看代码")
_RUNNING = Translated(en="Running {0} tests …", zh="正在运行 {0} 个测试 …")
_COUNT = Translated(en="{0} of {1} passed", zh="已通过 {0}/{1}")


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


def report(plan: int | None, language: Language) -> int:
    """Run the tests of the check list, or of one stage of the plan, and print the results.

    Returns:
        The exit status: 0 if every item passes.

    Raises:
        CommandError: if the plan has no such stage.
    """
    chosen = items_of_plan(plan)
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
