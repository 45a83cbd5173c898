"""Datasets: every form is read, and every fault is one line that names the place."""

from pathlib import Path

import pytest

from agent_api.evaluation.dataset import load_dataset
from shared.errors import ConfigurationError

EXAMPLE = "examples: [{id: a, input: Hi, expect: {contains: x}}]"


def write(folder: Path, text: str, name: str = "set.yaml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_short_forms_are_expanded(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("a")
    text = """
        assistant: rag
        documents: "*.md"
        require: {default: 0.5, cites: 0.9}
        examples:
          - {id: a, input: Hi, expect: {contains: x, tools: [one, {name: two, args: {n: 1}}], retrieves: a.md}}
          - {id: b, turns: [Hi, {messages: []}], expect: {tools: []}, decide: approve}
          - {id: c, input: Hi, skip: not yet}
    """
    dataset, documents = load_dataset(write(tmp_path, text))

    first, second, third = dataset.examples
    assert (dataset.name, dataset.assistant, documents) == ("set", "rag", [tmp_path / "a.md"])
    assert (dataset.required("cites"), dataset.required("regex")) == (0.9, 0.5)
    assert first.expect
    assert first.expect.tools
    assert first.turns == ["Hi"]
    assert [(call.name, call.args) for call in first.expect.tools.calls] == [("one", {}), ("two", {"n": 1})]
    assert first.expect.tools.mode == "in_order"
    assert [each.document for each in first.expect.retrieves] == ["a.md"]
    assert second.expect
    assert second.expect.tools
    assert second.expect.tools.mode == "exact"
    assert second.turns == ["Hi", {"messages": []}]
    assert third.expect is None


def test_json_lines_are_examples(tmp_path: Path) -> None:
    lines = '{"id": "a", "input": "Hi", "expect": {"equals": "x"}}\n\n{"id": "b", "input": "Ho", "skip": "later"}\n'
    dataset, _ = load_dataset(write(tmp_path, lines, "set.jsonl"))

    assert [example.id for example in dataset.examples] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("examples: []", "examples: List should have at least 1 item"),
        ("[", "while parsing a flow"),
        ("- a", "must be an object with `examples`"),
        (f"{EXAMPLE}\nassistent: rag", "assistent: Extra inputs are not permitted"),
        (f"{EXAMPLE}\ndocuments: '*.pdf'", "documents: no file matches *.pdf"),
        (f"{EXAMPLE}\nrequire: {{contain: 1}}", "`require`: there is no score contain"),
        (f"{EXAMPLE}\nrequire: {{contains: 1.5}}", "require.contains: Input should be less than or equal to 1"),
        ("examples: [{id: a, input: Hi}]", "examples.0: needs `expect`, or `skip` with the reason"),
        ("examples: [{id: a, input: Hi, turns: [Ho], skip: x}]", "examples.0: has `input` and `turns`"),
        ("examples: [{id: a, input: Hi, expect: {}}]", "examples.0.expect: expects nothing"),
        ("examples: [{id: a, input: Hi, expect: {regex: '('}}]", "expect.regex: is not a regular expression"),
        ("examples: [{id: a, input: Hi, expect: {json_schema: {type: no}}}]", "json_schema: is not a JSON schema"),
        ("examples: [{id: a, input: Hi, expect: {retrieves: [{top: 3}]}}]", "needs `document` or `text`"),
        ("examples: [{id: a, input: Hi, skip: x}, {id: a, input: Ho, skip: x}]", "several examples have the id a"),
    ],
)
def test_fault_is_one_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_dataset(write(tmp_path, text))

    assert fault in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'set.yaml'}: ")
    assert "\n" not in str(error.value)


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_dataset(tmp_path / "none.yaml")


def test_only_matching_examples_are_loaded(tmp_path: Path) -> None:
    path = write(tmp_path, "examples: [{id: a1, input: Hi, skip: x}, {id: b1, input: Hi, skip: x}]")

    assert [example.id for example in load_dataset(path, "b*")[0].examples] == ["b1"]
    with pytest.raises(ConfigurationError, match="no example has an id like c"):
        load_dataset(path, "c*")
