"""The recorded path of a learner is what the commands print today, and `make` prints it too."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from learn import exercises, walk
from learn.exercises import COPIES
from learn.language import Language
from learn.stages import ROOT

LOCALES: Mapping[Language, str] = {"en": "C.UTF-8", "zh": "zh_CN.UTF-8"}
FENCED = re.compile(r"^(`{3,})text\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_pages_are_what_the_commands_print() -> None:
    for language, page in walk.record().items():
        assert walk.PAGES[language].read_text("utf-8") == page, "run `make docs-code`"


@pytest.mark.parametrize("language", walk.PAGES)
def test_path_leads_to_the_tenth_exercise(language: Language) -> None:
    page = walk.PAGES[language].read_text("utf-8")
    solved = re.findall(r"^✓ (\S+)  ", page, re.MULTILINE)
    assert solved == [one.name for one in exercises.load()[:10]]
    assert re.findall(r"^[✓·] (C1\.\d)", page, re.MULTILINE) == ["C1.1", "C1.2", "C1.3"]


@pytest.mark.parametrize("language", walk.PAGES)
def test_first_command_of_a_clone_prints_the_same(tmp_path: Path, language: Language) -> None:
    """Run `make` in a copy without a workbench, whose environment has the packages already."""
    for name in ("learn", "local", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "docs/checklist.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "MAKE"))}

    tried = subprocess.run(
        ["make", "learn"],
        cwd=tmp_path,
        env=environment | {"LC_ALL": LOCALES[language]},
        capture_output=True,
        text=True,
        check=False,
    )

    first = FENCED.search(walk.PAGES[language].read_text("utf-8"))
    assert first
    assert (tried.returncode, tried.stderr) == (0, "")
    # Only a changed lock is installed first, which is announced.
    printed = [line for line in tried.stdout.strip().splitlines() if not line.startswith("Installing ")]
    assert printed == first[2].strip().splitlines()
    assert (tmp_path / COPIES.relative_to(ROOT) / "01-annotations.py").is_file()
