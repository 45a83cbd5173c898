"""The snippets of the answers run as they are, and print what their `# →` comments say, in both languages.

Every block that is fenced with ```python on an answer's page is a snippet. Those of one answer continue each other.
"""

import ast
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from types import ModuleType
from unittest.mock import patch

import pytest

from learn import questions
from learn.citations import ROOT, resolve
from learn.questions import Question
from tests.support.databases import Databases

QUESTIONS = questions.load().question
_SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_OPENING = re.compile(r"^```(?:python|dockerfile|yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PRINTED = re.compile(r"# → ?(.*)$", re.MULTILINE)
_CITED_LINES, _SNIPPET_LINES = 40, 15


def _answer(question: Question, language: str) -> str:
    page = questions.answer_page(question.part, language).read_text(encoding="utf-8")
    return questions.answers(page)[question.id][1]


def _snippets(question: Question, language: str = "en") -> list[str]:
    return _SNIPPET.findall(_answer(question, language))


def _code_lines(snippet: str) -> int:
    return len([line for line in snippet.splitlines() if line.strip() and not line.startswith("# →")])


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An empty module, which is where SQLAlchemy and FastAPI look up the names in annotations."""
    made = ModuleType("snippet")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The address of a database without a table."""
    with databases.empty() as address:
        yield address


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_snippets_print_what_they_say(
    question: Question, module: ModuleType, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    snippets = _snippets(question)
    if any("DATABASE_URL" in snippet for snippet in snippets):
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("database_url"))
    assert _printed(snippets, module) == [line.rstrip() for each in snippets for line in _PRINTED.findall(each)]


def test_snippets_of_the_page_on_evaluations_print_what_they_say(module: ModuleType) -> None:
    pages = [(ROOT / "docs" / name).read_text("utf-8") for name in ("improve.md", "improve.zh.md")]
    english, chinese = ([each for each in _SNIPPET.findall(page) if "# →" in each] for page in pages)
    assert english == chinese
    assert _printed(english, module) == [line.rstrip() for each in english for line in _PRINTED.findall(each)]


def _printed(snippets: Sequence[str], module: ModuleType) -> list[str]:
    printed = io.StringIO()
    with redirect_stdout(printed), patch.dict(os.environ):
        for snippet in snippets:
            exec(compile(snippet, "snippet", "exec"), module.__dict__)  # noqa: S102  it is ours
    return printed.getvalue().splitlines()


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_both_languages_have_the_same_snippets(question: Question) -> None:
    english, chinese = _snippets(question, "en"), _snippets(question, "zh")
    assert [ast.dump(ast.parse(one)) for one in chinese] == [ast.dump(ast.parse(one)) for one in english]
    assert [_PRINTED.findall(one) for one in chinese] == [_PRINTED.findall(one) for one in english]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_answer_opens_with_a_short_snippet_and_cites_little(question: Question) -> None:
    for language in questions.LANGUAGES:
        opening = _OPENING.match(_answer(question, language).lstrip())
        assert opening, f"{question.id} ({language}) does not open with a snippet"
        assert all(_code_lines(snippet) <= _SNIPPET_LINES for snippet in (opening[1], *_snippets(question, language)))
    cited = sum(len(resolve(citation).text.splitlines()) for citation in question.code)
    assert cited <= _CITED_LINES, f"{question.id} cites {cited} lines"
