"""The questions, the answers, the code and the tests agree; and say which question is wrong where they do not."""

import re
from pathlib import Path

import pytest

from learn import questions
from learn.citations import ROOT, CitationError, resolve
from learn.questions import Question, QuestionMap


@pytest.fixture(scope="module")
def the_map() -> QuestionMap:
    return questions.load()


def test_answers_match_the_map_code_and_tests(the_map: QuestionMap) -> None:
    assert list(questions.check(the_map)) == []


def test_command_output_matches_the_page(the_map: QuestionMap) -> None:
    for question in the_map.question:
        for shown in question.shows:
            assert shown.strip() in question.output, f"question {question.id}: {shown!r} is not in its output"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"code": ("shared/errors.py:NotFoundd",)}, "question 2.3: broken citation: shared/errors.py:NotFoundd"),
        ({"code": ("shared/gone.py:f",)}, "there is no file shared/gone.py"),
        (
            {"tests": ("tests/shared/test_http.py::test_gone",)},
            "question 2.3 names the test tests/shared/test_http.py::test_gone: no such test",
        ),
        ({"en": "Another one?"}, "question 2.3: part-2.md asks"),
    ],
)
def test_mismatches_name_the_question(the_map: QuestionMap, change: dict[str, object], said: str) -> None:
    changed = tuple(_changed(question, change) if question.id == "2.3" else question for question in the_map.question)
    found = list(questions.check(the_map.model_copy(update={"question": changed})))
    assert any(said in sentence for sentence in found)


def _changed(question: Question, change: dict[str, object]) -> Question:
    return question.model_copy(update=change)


def test_missing_question_is_reported(the_map: QuestionMap) -> None:
    fewer = the_map.model_copy(update={"question": the_map.question[:-1]})
    assert any(sentence.startswith("question 6.5") for sentence in questions.check(fewer))


@pytest.mark.parametrize(
    ("citation", "begins", "ends"),
    [
        ("project1_qa_api/routes/ask.py:ask_history", '@router.get("/history")', "recent(owner_id))"),
        ("project1_qa_api/answering.py:Answerer.answer", "async def answer(", ")"),
        ("project1_qa_api/main.py:ROUTERS", "ROUTERS = [", "]"),
        ("Makefile:run-project1", "run-project1:", ") project1"),
    ],
)
def test_code_is_cited_by_name(citation: str, begins: str, ends: str) -> None:
    text = resolve(citation).text
    assert text.startswith(begins)
    assert text.endswith(ends)


def test_other_files_are_cited_by_content(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM a AS base\nRUN x\n# why\nRUN y\n\n# next\nFROM base AS final\nCMD z\n")
    (tmp_path / "docker-compose.yml").write_text(
        "x-app: &app\n  image: a\nservices:\n  api:\n    <<: *app\n    # why\n    ports: [1]\n  db:\n    image: b\n"
    )
    (tmp_path / ".env.example").write_text("A=1\n#B=2   # what it is\n")
    assert resolve("Dockerfile:base", tmp_path).text == "FROM a AS base\nRUN x\n# why\nRUN y"
    assert resolve("Dockerfile:final", tmp_path).text == "FROM base AS final\nCMD z"
    assert resolve("docker-compose.yml:services.api", tmp_path).text == "api:\n  <<: *app\n  # why\n  ports: [1]"
    assert resolve("docker-compose.yml:services.db.image", tmp_path).text == "image: b"
    assert resolve(".env.example:B", tmp_path).text == "#B=2   # what it is"


@pytest.mark.parametrize("citation", ["nothing", "Makefile:none", "shared/errors.py:NotFound.none", "README.md:here"])
def test_missing_citation_is_reported(citation: str) -> None:
    with pytest.raises(CitationError, match=citation):
        resolve(citation)


def test_every_place_in_the_plan_exists() -> None:
    for name in ("plan.md", "plan.zh.md"):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        for cell in text.split("`")[1::2]:
            if "/" in cell and cell.startswith(("shared", "project", "tests")):
                assert (ROOT / cell).exists(), f"{name} names {cell}"


def test_glossaries_have_the_same_terms() -> None:
    row = re.compile(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \| \[(\d\.\d)\]", re.MULTILINE)
    english, chinese = (
        row.findall((ROOT / "docs" / name).read_text("utf-8")) for name in ("glossary.md", "glossary.zh.md")
    )

    assert len(english) > 50
    assert chinese == [(translation, term, question) for term, translation, question in english]
