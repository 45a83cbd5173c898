"""The check list of the plan, run: for each item what shows it, why it matters, and where to look."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from learn.judging import run_tests
from learn.language import Language, Said
from learn.stages import ROOT, CannotDo, say
from learn.terminal import Painter

FILE = ROOT / "docs" / "checklist.toml"

_TRIED = Said(en="tried", zh="检查")
_WHY = Said(en="why", zh="为什么")
_LOOK = Said(en="look", zh="看代码")
_RUNNING = Said(en="Running {0} tests …", zh="正在运行 {0} 个测试 …")
_COUNT = Said(en="{0} of {1} shown", zh="已通过 {0}/{1}")


class Item(BaseModel):
    """One item.

    Attributes:
        id: Of the plan, such as `C1.1`: the digit is the plan's stage of study, 1 to 6.
        can: What somebody can do.
        tried: What the tests look at.
        why: Why it matters.
        places: Where it stands: a definition, or a whole file.
        tests: That show it, by node id.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    can: Said
    tried: Said
    why: Said
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
class Shown:
    """What became of an item: the tests that failed, each with what is wrong."""

    item: Item
    wrong: Sequence[str]


def run(chosen: Sequence[Item], folder: Path = ROOT) -> list[Shown]:
    """Run what shows some items, all tests in one go."""
    verdicts = run_tests(folder, [test for item in chosen for test in item.tests]) if chosen else {}
    return [
        Shown(item, [f"{test}: {verdicts[test].message}" for test in item.tests if not verdicts[test].passed])
        for item in chosen
    ]


def report(stage: int | None, language: Language) -> int:
    """Run the check list, or a stage of it, and print what came out.

    Returns:
        An exit status: 0 where every item is shown.

    Raises:
        CannotDo: if the plan has no such stage.
    """
    chosen = [item for item in items() if stage in {None, item.stage}]
    if not chosen:
        raise CannotDo(f"the plan has no stage {stage}; it has 1 to {max(item.stage for item in items())}")
    painter = Painter()
    say(_RUNNING.in_language(language).format(sum(len(item.tests) for item in chosen)))
    results = run(chosen)
    for shown in results:
        _print(shown, language, painter)
    done = sum(not shown.wrong for shown in results)
    say(_COUNT.in_language(language).format(done, len(results)))
    return 0 if done == len(results) else 1


def _print(shown: Shown, language: Language, painter: Painter) -> None:
    item = shown.item
    mark = painter.paint("✗", "31") if shown.wrong else painter.paint("✓", "32")
    say(f"{mark} {painter.paint(item.id, '1')} {item.can.in_language(language)}")
    for label, text in (
        (_TRIED, item.tried.in_language(language)),
        (_WHY, item.why.in_language(language)),
        (_LOOK, ", ".join(item.places)),
    ):
        say(f"    {painter.paint(label.in_language(language), '2')}: {text}")
    for line in shown.wrong:
        say(f"    {painter.paint(line, '31')}")
