"""The check list of this repository: about existing tests, and honest about failures."""

from pathlib import Path

import pytest

from learn import checklist, project_checklist
from learn.checklist import Item
from learn.citations import is_test
from learn.language import Translated
from learn.places import find_definition
from learn.stages import ROOT


@pytest.mark.parametrize("item", checklist.items(), ids=lambda item: item.id)
def test_items_name_existing_tests(item: Item) -> None:
    assert item.tests, f"{item.id}: nothing shows it"
    assert item.places, f"{item.id}: nowhere to look"
    for place in item.places:
        assert (ROOT / place).is_file() or find_definition(ROOT, place).source, (
            f"{item.id} names {place}, which is not there"
        )
    assert [test for test in item.tests if not is_test(test)] == [], f"{item.id} names tests that there are not"


def item(**changes: object) -> Item:
    said = Translated(en="x", zh="x")
    given = {"id": "C1.1", "can": said, "tested": said, "why": said, "places": ["shared/app.py:build_app"]}
    return Item.model_validate(given | changes)


def test_failures_are_reported_with_their_reason(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_good(): pass\ndef test_bad(): assert 1 == 2\n")
    (tmp_path / "test_grouped.py").write_text(
        "class TestIt:\n    def test_good(self): pass\n    def test_bad(self): assert 1 == 2\n"
    )
    (tmp_path / "test_broken.py").write_text("import there_is_no_such_module\n")

    shown = project_checklist.run(
        [
            item(tests=["test_it.py::test_good"]),
            item(tests=["test_it.py::test_bad"]),
            item(tests=["test_broken.py::test_it"]),
            item(tests=["test_grouped.py::TestIt::test_good"]),
            item(tests=["test_grouped.py::TestIt::test_bad"]),
        ],
        tmp_path,
    )

    assert [one.failures for one in shown] == [
        [],
        ["test_it.py::test_bad: assert 1 == 2"],
        ["test_broken.py::test_it: did not run: ModuleNotFoundError: No module named 'there_is_no_such_module'"],
        [],
        ["test_grouped.py::TestIt::test_bad: assert 1 == 2"],
    ]
