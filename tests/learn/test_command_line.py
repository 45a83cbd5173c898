"""The commands as they are typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from learn import project_checklist
from learn.practice_commands import main
from learn.stages import ROOT

pytestmark = pytest.mark.slow


def learn(*arguments: str, module: str = "learn") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "nothing"], "error: there is no exercise 'nothing'; there are: history, while-connected"),
        (["checklist", "--plan", "9"], "error: the plan has no stage 9; PLAN is 1 to 6"),
    ],
)
def test_errors_are_one_line(arguments: list[str], said: str) -> None:
    tried = learn(*arguments, module="learn.practice_commands")

    assert (tried.returncode, tried.stdout) == (2, "")
    assert tried.stderr.startswith(said)
    assert tried.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["checklist", "PROJECT=2"], "PROJECT= is for practice-check practice-watch.  Stop."),
        (["learn", "PLAN=2"], "PLAN= is for checklist checklist-project.  Stop."),
        (["stop", "CHAPTER=agents"], "CHAPTER= is for run-project1 "),
    ],
)
def test_variable_of_another_target_is_refused(arguments: list[str], said: str) -> None:
    command = ["make", "--no-print-directory", *arguments]  # the tests may run below a make
    tried = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (tried.returncode, tried.stdout) == (2, "")
    assert said in tried.stderr


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ('#!/bin/sh\n[ "$2" != venv ] || exit 1\n', "错误：{} 无法创建虚拟环境；在 Debian 和 Ubuntu 上先安装："),
        ("#!/bin/sh\nexit 1\n", "错误：需要 Python 3.11 或更新的版本（{} 不满足）"),
    ],
)
def test_make_explains_a_missing_environment_in_chinese(tmp_path: Path, python: str, said: str) -> None:
    program = tmp_path / "python"
    program.write_text(python)
    program.chmod(0o755)
    for name in ("Makefile", "requirements"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = ["make", "--no-print-directory", "learn", f"PYTHON={program}"]
    environment = {**os.environ, "LC_ALL": "zh_CN.UTF-8"}
    tried = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert tried.returncode == 2
    assert tried.stderr.splitlines()[0].startswith(said.format(program))


def test_difference_is_printed_summary_first() -> None:
    shown = learn("diff", "1", "2")

    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == "Project 1 -> 2: + users and messages (project2_user_mgmt)"
    assert lines[1] == "Operations  +7"
    assert "+++ project2_user_mgmt/main.py" in lines


def test_interrupted_check_prints_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(project_checklist, "report", interrupt)
    monkeypatch.setattr(sys, "argv", ["practice_commands", "checklist"])

    assert main() == 130
