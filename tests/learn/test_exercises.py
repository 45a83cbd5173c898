"""The foundations: every starter fails, every solution passes, and texts, folders and lists agree."""

import ast
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from learn import checklist, exercise_commands, exercises, questions
from learn.exercise_commands import Session
from learn.exercises import Check, Copies, Exercise
from learn.language import Language
from learn.stages import ROOT, CommandError

LIMIT = 2.0  # seconds for one exercise on a machine that has nothing else to do: reported, not asserted
FIRST = exercises.load()[0]
SECOND = exercises.load()[1]
CHINESE = re.compile("[\u4e00-\u9fff]")
TASK = re.compile(r"# TODO.*\n(?: *#(?! TODO).*\n)*")
EXERCISES = pytest.mark.parametrize("one", exercises.load(), ids=lambda one: one.name)


@pytest.fixture(scope="module")
def starters() -> Mapping[str, Sequence[Check]]:
    return exercises.judge(exercises.load(), "exercise.py", seconds=120)


@pytest.fixture(scope="module")
def solutions() -> Mapping[str, Sequence[Check]]:
    started = time.perf_counter()
    verdicts = exercises.judge(exercises.load(), "solution.py", seconds=120)
    seconds = time.perf_counter() - started
    sys.stdout.write(f"{len(verdicts)} exercises judged in {seconds:.1f} s (at most {LIMIT} s each)\n")
    return verdicts


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path / "exercises")


def solve(copies: Copies, one: Exercise) -> None:
    copies.create(one)
    copies.path(one).write_text((one.folder / "solution.py").read_text("utf-8"), "utf-8")


class TestExercises:
    @EXERCISES
    def test_starter_fails(self, one: Exercise, starters: Mapping[str, Sequence[Check]]) -> None:
        assert [check.name for check in starters[one.name] if check.name == "collect"] == []
        assert not all(check.passed for check in starters[one.name])

    @EXERCISES
    def test_solution_passes(self, one: Exercise, solutions: Mapping[str, Sequence[Check]]) -> None:
        assert [check for check in solutions[one.name] if not check.passed] == []

    @EXERCISES
    def test_starter_says_what_to_do_in_both_languages(self, one: Exercise) -> None:
        tasks = TASK.findall((one.folder / "exercise.py").read_text("utf-8"))
        assert tasks
        assert [task for task in tasks if not CHINESE.search(task)] == []

    @EXERCISES
    def test_messages_of_checks_are_in_both_languages(self, one: Exercise) -> None:
        checks = ast.parse((one.folder / "check.py").read_text("utf-8"))
        messages = [ast.unparse(node.msg) for node in ast.walk(checks) if isinstance(node, ast.Assert) and node.msg]
        texts = [message for message in messages if " " in message]  # the others are values
        assert [text for text in texts if not CHINESE.search(text)] == []
        assert "TODO" not in (one.folder / "solution.py").read_text("utf-8")

    @EXERCISES
    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_note_has_a_concept_and_two_hints(self, one: Exercise, language: Language) -> None:
        note, hints = one.note(language)
        assert note.startswith("# ")
        assert "TypeScript" in note or "Express" in note or "JavaScript" in note
        assert len(hints) == 2
        assert bool(CHINESE.search(note)) == (language == "zh")

    @EXERCISES
    def test_items_and_questions_exist(self, one: Exercise) -> None:
        assert 1 <= one.plan <= 6
        assert set(one.items) <= {item.id for item in checklist.items()}
        assert set(one.questions) <= {question.id for question in questions.load().question}

    def test_list_and_folders_agree(self) -> None:
        names = [one.name for one in exercises.load()]
        assert len(names) == len(set(names))
        assert sorted(names) == sorted(path.parent.name for path in exercises.FOLDER.glob("*/check.py"))

    @pytest.mark.parametrize(
        ("page", "text"),
        [
            ("README.md", "{0} small exercises"),
            ("README.zh-CN.md", "{0} 道小题"),
            ("docs/start.md", "{0} small exercises"),
            ("docs/start.zh.md", "{0} 道小练习"),
        ],
    )
    def test_pages_count_the_exercises(self, page: str, text: str) -> None:
        assert text.format(len(exercises.load())) in (ROOT / page).read_text("utf-8")

    def test_exercise_is_found_by_number_and_name(self) -> None:
        assert [exercises.find(name) for name in ("1", "01", "annotations", "01-annotations")] == [FIRST] * 4
        with pytest.raises(CommandError, match="no exercise 'monads'; there are: 01-annotations"):
            exercises.find("monads")


class TestCopies:
    def test_change_after_solution_is_judged_again(self, copies: Copies) -> None:
        solve(copies, FIRST)
        copies.judge(FIRST)
        assert copies.solved() == [FIRST]

        copies.path(FIRST).write_text("", "utf-8")
        assert copies.solved() == []

    def test_reset_keeps_a_backup(self, copies: Copies) -> None:
        copies.create(FIRST)
        copies.path(FIRST).write_text("mine", "utf-8")

        backup = copies.reset(FIRST)

        assert backup
        assert backup.read_text("utf-8") == "mine"
        assert not copies.is_started(FIRST)

    def test_second_reset_keeps_the_backup(self, copies: Copies) -> None:
        copies.create(FIRST)
        copies.path(FIRST).write_text("mine", "utf-8")
        backup = copies.reset(FIRST)

        assert copies.reset(FIRST) is None

        assert backup
        assert backup.read_text("utf-8") == "mine"

    def test_learners_own_line_is_named(self, copies: Copies) -> None:
        copies.create(SECOND)
        copies.path(SECOND).write_text("def shout(function):\n    return functoin\n", "utf-8")
        solve_later = "ROUTES = {}\n\n\n@shout\ndef greet(name): ...\n"
        with copies.path(SECOND).open("a", encoding="utf-8") as file:
            file.write(solve_later)

        failed = copies.judge(SECOND)[0]

        assert failed.line == 2
        assert "functoin" in failed.message

    def test_syntax_error_is_named(self, copies: Copies) -> None:
        copies.create(FIRST)
        copies.path(FIRST).write_text("x = 1\ndef broken(:\n", "utf-8")

        failed = copies.judge(FIRST)[0]

        assert failed.line == 2
        assert "SyntaxError" in failed.message

    def test_failed_assertion_is_shown(self, copies: Copies) -> None:
        copies.create(FIRST)
        failed = next(check for check in copies.judge(FIRST) if not check.passed)

        assert failed.statement == 'assert hints.get("ages") in AGES'
        assert "AssertionError" in failed.message

    def test_failed_comparison_is_shown_as_the_check_has_it(self, copies: Copies) -> None:
        generators = exercises.find("generators")
        solve(copies, generators)
        path = copies.path(generators)
        path.write_text(path.read_text("utf-8").replace("yield stripped", "yield line"), "utf-8")

        failed = next(check for check in copies.judge(generators) if not check.passed)

        assert failed.statement.endswith(r"""([" a \n", "\n", "b", "  "])) == ["a", "b"]""")
        assert failed.message.splitlines()[1:] == [r"  At index 0 diff: ' a \n' != 'a'"]

    @pytest.mark.slow
    def test_endless_loop_is_ended(self, copies: Copies) -> None:
        copies.create(FIRST)
        copies.path(FIRST).write_text("while True:\n    pass\n", "utf-8")

        failed = copies.judge(FIRST)

        assert [check.name for check in failed] == ["timeout"]
        assert failed[0].line in {1, 2}
        assert failed[0].message_in("en").endswith("is there an endless loop, or a wait that never ends?")

    @pytest.mark.parametrize(
        ("block", "line"),
        [("while True: pass", "line 7 in"), ("threading.Event().wait()", "line 7 in"), ("sum(range(9))", "")],
        ids=["loop", "wait", "end"],
    )
    def test_limits_are_of_processor_and_idle_time(self, tmp_path: Path, block: str, line: str) -> None:
        script = f"""
import threading
from pathlib import Path
from learn.exercise_limits import Limits

with Limits(Path("{tmp_path}/stacks"), processor_seconds=0.5, idle_seconds=1).applied():
    {block}
"""
        ended = subprocess.run([sys.executable, "-c", script.strip("\n").join("\n\n")], cwd=ROOT, check=False)

        assert (ended.returncode == 0) == (not line)
        assert line in (tmp_path / "stacks").read_text("utf-8")

    @pytest.mark.parametrize(
        ("message", "english", "chinese"),
        [
            ("AssertionError: a list / 列表", "AssertionError: a list", "AssertionError: 列表"),
            ("a list, or 1 / 2 / 列表", "a list, or 1 / 2", "列表"),
            ("assert 4 / 2 == 1\nassert 1", "assert 4 / 2 == 1\nassert 1", "assert 4 / 2 == 1\nassert 1"),
            ("assert '列表' == 'a / b'",) * 3,
        ],
    )
    def test_message_is_in_one_language(self, message: str, english: str, chinese: str) -> None:
        check = Check("check", passed=False, message=message)

        assert (check.message_in("en"), check.message_in("zh")) == (english, chinese)

    def test_damaged_progress_starts_again(self, copies: Copies) -> None:
        solve(copies, FIRST)
        copies.judge(FIRST)
        (copies.folder / "progress.json").write_text("{", "utf-8")

        assert copies.solved() == []


class TestSession:
    @pytest.mark.parametrize(("language", "solved"), [("en", "0 of {0} solved"), ("zh", "已完成 0/{0}")])
    def test_first_report_shows_the_note(
        self, copies: Copies, capsys: pytest.CaptureFixture[str], language: Language, solved: str
    ) -> None:
        Session(language, copies).report()

        printed = capsys.readouterr().out
        assert solved.format(len(exercises.load())) in printed
        assert FIRST.note(language)[0] in printed
        assert str(copies.path(FIRST)) in printed
        assert copies.path(FIRST).exists()

    def test_solved_exercise_leads_to_the_next(self, copies: Copies, capsys: pytest.CaptureFixture[str]) -> None:
        solve(copies, FIRST)

        Session("en", copies).report()

        printed = capsys.readouterr().out
        assert f"✓ {FIRST.name}" in printed
        assert f"1 of {len(exercises.load())} solved" in printed
        assert copies.path(SECOND).exists()

    def test_hints_come_one_by_one(self, copies: Copies, capsys: pytest.CaptureFixture[str]) -> None:
        session = Session("en", copies)
        first, second = FIRST.note("en")[1]

        session.hint(FIRST)
        assert second not in capsys.readouterr().out
        session.hint(FIRST)
        printed = capsys.readouterr().out
        assert first in printed
        assert second in printed

    def test_solution_is_a_difference(self, copies: Copies, capsys: pytest.CaptureFixture[str]) -> None:
        Session("en", copies).solution(FIRST)

        printed = capsys.readouterr().out
        assert "-def find_age(ages, name):" in printed
        assert "+def find_age(ages: dict[str, int], name: str) -> int | None:" in printed

    def test_copy_in_another_encoding_is_reported(self, copies: Copies, capsys: pytest.CaptureFixture[str]) -> None:
        copies.create(FIRST)
        copies.path(FIRST).write_bytes("x = 1\nname = '类型'\n".encode("gbk"))
        session = Session("en", copies)

        session.report(FIRST)
        session.solution(FIRST)

        printed = capsys.readouterr().out
        assert f"✗ {FIRST.name}" in printed
        assert "SyntaxError" in printed
        assert "-x = 1" in printed

    def test_reset_without_a_name_takes_the_current_exercise(
        self, copies: Copies, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        solve(copies, FIRST)
        copies.judge(FIRST)
        copies.create(SECOND)
        copies.path(SECOND).write_text("mine", "utf-8")
        monkeypatch.setattr(exercise_commands, "Copies", lambda: copies)
        monkeypatch.setattr(sys, "argv", ["exercise_commands", "reset", "--language", "en"])

        assert exercise_commands.main() == 0

        assert f"{copies.path(SECOND)} is the starter again." in capsys.readouterr().out
        assert copies.solved() == [FIRST]
        assert not copies.is_started(SECOND)

    @pytest.mark.timeout(60)
    def test_watch_judges_a_saved_file(self, copies: Copies) -> None:
        script = f"""
from pathlib import Path
from learn.exercise_commands import Session
from learn.exercises import Copies
Session("en", Copies(Path({str(copies.folder)!r}))).watch()
"""
        with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as watch:
            try:
                assert watch.stdout
                lines = iter(watch.stdout.readline, "")
                assert any(line.startswith("Watching ") for line in lines)
                solve(copies, FIRST)
                assert any(line.startswith(f"✓ {FIRST.name}") for line in lines)
            finally:
                watch.kill()


ONLY = """
import importlib.metadata, re, runpy, sys
normal = lambda name: re.sub("[-_.]+", "-", name).lower()
there = {
    normal(line.partition("==")[0])
    for lock in ("project1", "learn")
    for line in open(f"requirements/{lock}.lock") if "==" in line and not line.startswith(" ")
}
absent = {
    module for module, owners in importlib.metadata.packages_distributions().items()
    if not there & {normal(owner) for owner in owners}
}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import learn.exercise_commands, pytest
"""


def test_commands_need_the_first_stage_only() -> None:
    tried = subprocess.run([sys.executable, "-c", ONLY], cwd=ROOT, capture_output=True, text=True, check=False)
    assert tried.stderr == ""


@pytest.mark.parametrize(
    ("language", "message"),
    [("en", "error: there is no exercise 'monads'; there are: "), ("zh", "错误：没有练习 'monads'；现有练习：")],
)
def test_error_is_one_line(language: str, message: str) -> None:
    tried = subprocess.run(
        [sys.executable, "-m", "learn.exercise_commands", "check", "monads", "--language", language],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (tried.returncode, tried.stdout) == (2, "")
    assert tried.stderr.startswith(f"{message}01-annotations, ")
