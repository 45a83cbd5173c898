"""Files that the documentation names exist: a file that is moved or renamed takes its mentions with it."""

import re
from pathlib import Path

import pytest

from learn.stages import ROOT, STAGES

# Generated, made by the reader, or part of an example.
NOT_IN_GIT = re.compile(
    r"^(site|workbench|backups|\.data|\.agent-api|\.venv|docs/(stages|reference)|docs/differences/\d)|^(src|app)/|^(requirements\.txt|try\.py)$"
)
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "project*/README*.md", "examples/**/*.md", "bench/*.md")
    for page in ROOT.glob(pattern)
    if not NOT_IN_GIT.match(page.relative_to(ROOT).as_posix())
)
PATH = re.compile(
    r"(?:[\w.-]+/)+(?:[\w.-]+\.(?:py|js|md|toml|yml|json|css|html|sh|conf|svg|lock))?|[\w-]+\.(?:py|js|toml)"
)
# A file name without its folder stands for each file of that name: `routes.py` of any feature.
NAMES = {path.name for folder in ("shared", "project*") for path in ROOT.glob(f"{folder}/**/*.*")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_named_files_exist(page: Path) -> None:
    text = re.sub(r"^(`{3,}).*?^\1", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    named = {span for span in re.findall(r"`([^`\s]+)`", text) if PATH.fullmatch(span) and not NOT_IN_GIT.match(span)}

    folders = [ROOT, page.parent, *(stage.folder for stage in STAGES.values())]
    missing = [path for path in named if not any((folder / path).exists() for folder in folders)]
    assert sorted(path for path in missing if path not in NAMES) == []
