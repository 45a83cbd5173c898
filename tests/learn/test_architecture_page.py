"""The page about stage 4's architecture: its packages, its picture, and the way of a run."""

import re
import tomllib
from xml.etree import ElementTree as ET

import pytest

from learn.chapters import load
from learn.citations import resolve
from learn.stages import ROOT, STAGES

FOLDER = STAGES[4].folder
PAGES = ["architecture.md", "architecture.zh.md"]


def read(page: str) -> str:
    return (ROOT / "docs" / page).read_text("utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_table_lists_every_package_with_its_chapter(page: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)/` \| .+ \| ([\d.]+) \|$", read(page), re.MULTILINE))

    folders = {path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rows == {folder: load().of_file(4, f"{folder}/").number for folder in folders}


def test_places_in_the_table_exist() -> None:
    row = re.compile(r"^\| .+ \| `([\w/]+\.py)` \| `([\w.]+)` \|$", re.MULTILINE)
    rows, rows_zh = (row.findall(read(page)) for page in PAGES)

    assert rows == rows_zh
    assert [resolve(f"{FOLDER.name}/{file}:{name}").name for file, name in rows] == [name for _, name in rows] != []


def test_picture_shows_the_layers_in_order() -> None:
    picture = ET.parse(ROOT / "docs" / "assets" / "architecture.svg")  # noqa: S314  a file of this repository
    shown = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text") if text.get("class") == "t"]

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract.get("containers") == [STAGES[4].package]]
    assert shown == [name for layer in layers for name in layer.split(" | ")]


@pytest.mark.parametrize("page", PAGES)
def test_way_of_a_run_names_each_file_once(page: str) -> None:
    walk = read(page).rpartition("\n## ")[2]
    files = re.findall(r"`((?:\w+/)+\w+\.py)`", walk)

    assert [file for file in files if not (FOLDER / file).is_file()] == []
    assert len(files) == len(set(files)) <= 14
    assert files == re.findall(r"^\d+\. `([^`]+)`", walk, re.MULTILINE)
    assert files[0] == "runs/routes.py"
