"""The foundations: small exercises of one file each, judged by their checks, and the learner's progress.

The starters under `learn/exercises/` stay as they are: the learner writes in copies, in a folder that git ignores.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from learn.language import Language, Translated, part_in_language
from learn.stages import ROOT, WORKBENCH, CommandError

FOLDER = Path(__file__).with_name("exercises")
COPIES = WORKBENCH / "exercises"
_SECONDS = 120  # a check that hangs ends the process much earlier: learn/exercise_limits.py
_BUSY = "TimeoutError: not finished within {0:g} s; is the machine busy? / {0:g} 秒内没有结束，机器是不是太忙了？"
_HINT = re.compile(r"^## (?:Hint|提示) \d$", re.MULTILINE)


class Exercise(BaseModel):
    """An exercise.

    Attributes:
        name: The name of its folder, such as `01-annotations`.
        plan: The stage of the study plan, 1 to 6.
        items: Items of the check list that it belongs to.
        questions: Questions of the plan that it helps to answer.
        imports: Modules that it needs besides the packages of the first stage.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    plan: int
    items: list[str] = []
    questions: list[str] = []
    title: Translated
    imports: list[str] = []

    @property
    def folder(self) -> Path:
        """The folder of its starter, solution, checks and notes."""
        return FOLDER / self.name

    @property
    def missing_imports(self) -> list[str]:
        """The modules that it needs and that are not installed."""
        return [name for name in self.imports if importlib.util.find_spec(name) is None]

    def note(self, language: Language) -> tuple[str, list[str]]:
        """Return the note in a language without its hints, and the hints."""
        text = (self.folder / ("note.zh.md" if language == "zh" else "note.md")).read_text("utf-8")
        note, *hints = (part.strip() for part in _HINT.split(text))
        return note, hints


@cache
def load() -> Sequence[Exercise]:
    """Return the exercises, in the order in which to solve them."""
    found = tomllib.loads((FOLDER / "exercises.toml").read_text("utf-8"))["exercise"]
    return [Exercise.model_validate(entry) for entry in found]


def find(name: str) -> Exercise:
    """Return an exercise by its name, its number or its name without the number.

    Raises:
        CommandError: if it does not exist.
    """
    for exercise in load():
        number, _, slug = exercise.name.partition("-")
        if name in {exercise.name, slug, number, number.lstrip("0")}:
            return exercise
    names = ", ".join(exercise.name for exercise in load())
    raise CommandError(f"there is no exercise {name!r}; there are: {names}", f"没有练习 {name!r}；现有练习：{names}")


@dataclass(frozen=True)
class Check:
    """The verdict of a check.

    Attributes:
        line: The line of the judged file at which it failed, if it failed there.
        statement: The statement of the check that failed.
        message: The error, of several lines at most. A text of the check is in both languages, as `ENGLISH / 中文`.
    """

    name: str
    passed: bool
    line: int | None = None
    statement: str = ""
    message: str = ""

    def message_in(self, language: Language) -> str:
        """Return the message in one language."""
        return "\n".join(part_in_language(line, language) for line in self.message.splitlines())


def judge(chosen: Sequence[Exercise], judged: str | Path, seconds: float = _SECONDS) -> Mapping[str, Sequence[Check]]:
    """Run the checks of some exercises, in one process.

    Args:
        judged: `exercise.py` or `solution.py` in the folder of each, or the path of a learner's file.
        seconds: The time after which the process is ended.

    Returns:
        The checks by the name of the exercise; an exercise whose checks did not run has one that failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        verdicts = Path(scratch) / "verdicts.json"
        stacks = Path(scratch) / "stacks.txt"
        options = ["-q", "-c", str(FOLDER / "pytest.ini"), f"--judged={judged}"]
        options += [f"--verdicts={verdicts}", f"--stacks={stacks}"]
        paths = [str(exercise.folder / "check.py") for exercise in chosen]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *options, *paths],
                cwd=ROOT,
                env=_environment(),
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return {
                exercise.name: [Check("timeout", passed=False, message=_BUSY.format(seconds))] for exercise in chosen
            }
        if not verdicts.exists() and stacks.exists() and (text := stacks.read_text("utf-8")):
            return {exercise.name: [_hanging(text, judged)] for exercise in chosen}
        found = json.loads(verdicts.read_text("utf-8")) if verdicts.exists() else []
    checks: dict[str, list[Check]] = defaultdict(list)
    for verdict in found:
        checks[verdict.pop("exercise")].append(Check(verdict.pop("check"), **verdict))
    why = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
    return {
        exercise.name: checks[exercise.name] or [Check("collect", passed=False, message=why)] for exercise in chosen
    }


def _environment() -> dict[str, str]:
    """Return an environment in which only pytest's own plugins are loaded, and nothing measures coverage.

    pytest prints whole differences if `CI` or `BUILD_NUMBER` is set: a learner gets the short form everywhere.
    """
    left_out = ("COVERAGE_", "COV_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    kept.pop("CI", None)
    kept.pop("BUILD_NUMBER", None)
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _hanging(text: str, judged: str | Path) -> Check:
    """Return the verdict of a check that did not end, with the line that the printed stacks name."""
    line = re.search(rf'File "{re.escape(str(judged))}", line (\d+)', text)
    return Check(
        "timeout",
        passed=False,
        line=int(line[1]) if line else None,
        message="TimeoutError: not finished; is there an endless loop, or a wait that never ends? / "
        "一直没有结束，是不是死循环，或者在等永远不会来的东西？",
    )


Judge = Callable[[Sequence[Exercise], str | Path], Mapping[str, Sequence[Check]]]


class _Progress(BaseModel):
    """The digests of the solved exercises, and how many hints were shown, by the name of the exercise."""

    solved: dict[str, str] = {}
    hints: dict[str, int] = {}


class Copies:
    """The learner's copies of the starters, and the progress.

    Args:
        judge: The function that runs the checks.

    An exercise is solved if its checks passed, and neither the copy nor the checks have changed since.
    """

    def __init__(self, folder: Path = COPIES, judge: Judge = judge) -> None:
        self.folder = folder
        self._judge = judge
        self._progress = folder / "progress.json"

    def path(self, one: Exercise) -> Path:
        """Return the path of a copy."""
        return self.folder / f"{one.name}.py"

    def create(self, one: Exercise) -> None:
        """Copy the starter of an exercise, unless there is a copy already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.path(one).exists():
            shutil.copyfile(one.folder / "exercise.py", self.path(one))

    def reset(self, one: Exercise) -> Path | None:
        """Replace a copy by the starter.

        Returns:
            The path of the replaced copy's backup, if the copy differed from the starter.
        """
        path = self.path(one)
        backup = path.with_suffix(".py.old") if self.is_started(one) else None
        if backup:
            path.replace(backup)
        self.create(one)
        return backup

    def is_started(self, one: Exercise) -> bool:
        """Return whether a copy differs from its starter."""
        path = self.path(one)
        return path.exists() and path.read_bytes() != (one.folder / "exercise.py").read_bytes()

    def is_solved(self, one: Exercise) -> bool:
        """Return whether an exercise is solved."""
        return self.path(one).exists() and self._load().solved.get(one.name) == self._digest(one)

    def solved(self) -> list[Exercise]:
        """Return the solved exercises."""
        return [exercise for exercise in load() if self.is_solved(exercise)]

    def judge(self, one: Exercise) -> Sequence[Check]:
        """Judge a copy, and record whether it is solved."""
        checks = self._judge([one], self.path(one))[one.name]
        progress = self._load()
        progress.solved.pop(one.name, None)
        if all(check.passed for check in checks):
            progress.solved[one.name] = self._digest(one)
        self._save(progress)
        return checks

    def next_hint(self, one: Exercise, available: int) -> int:
        """Return how many hints to show: one more than the last time, up to those that are available."""
        progress = self._load()
        shown = min(progress.hints.get(one.name, 0) + 1, available)
        progress.hints[one.name] = shown
        self._save(progress)
        return shown

    def _digest(self, one: Exercise) -> str:
        return hashlib.sha256(self.path(one).read_bytes() + (one.folder / "check.py").read_bytes()).hexdigest()

    def _load(self) -> _Progress:
        try:
            return _Progress.model_validate_json(self._progress.read_bytes())
        except (FileNotFoundError, ValidationError):
            return _Progress()

    def _save(self, progress: _Progress) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._progress.write_text(progress.model_dump_json(indent=1), "utf-8")
