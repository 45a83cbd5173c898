"""The questions of the study plan: the code and the tests that answer each, and a command to try it.

`docs/questions.toml` maps questions to code and tests; `docs/questions/` has the answers, one page for each part of the
plan in English and in Chinese. `check` compares map, answers, code and tests.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from learn.citations import ROOT, CitationError, is_test, resolve

MAP = ROOT / "docs" / "questions.toml"
LANGUAGES = "en", "zh"
# The number of questions in each part of the plan.
PLAN = {1: 5, 2: 6, 3: 6, 4: 6, 5: 6, 6: 5}

_HEADING = re.compile(r"^## (\d\.\d) (.+?) \{#q(\d)-(\d)\}$", re.MULTILINE)
INCLUSION = re.compile(r"^<!-- (code|try|decisions|map) (\S+) -->$.*?^<!-- /\1 -->$", re.MULTILINE | re.DOTALL)
_ANCHORED = re.compile(r'^<a id="([\w-]+)"></a>\n\n(#+ .+)$', re.MULTILINE)
_DIRECTIVE = re.compile(r"^\{\{ (code|try) (\S+) \}\}$", re.MULTILINE)


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Question(_Checked):
    """A question of the plan.

    Attributes:
        id: The number of the part and of the question in it, such as `2.3`.
        zh: The question in Chinese, in the plan's words.
        code: Citations of the code that answers it.
        tests: Node ids of the tests that show it.
        needs: The stage that must be running, such as `project3`, or an empty string.
        command: A shell command to try it, run from the repository's folder.
        output: Sample output of the command, perhaps shortened.
        shows: Lines that the output always contains.
        not_run: The reason why no test runs the command, or an empty string.
    """

    id: str = Field(pattern=r"^\d\.\d$")
    zh: str
    en: str
    code: tuple[str, ...] = Field(min_length=1)
    tests: tuple[str, ...] = Field(min_length=1)
    needs: str = ""
    command: str
    output: str
    shows: tuple[str, ...] = ()
    not_run: str = ""

    @property
    def part(self) -> int:
        """The part of the plan."""
        return int(self.id[0])

    @property
    def anchor(self) -> str:
        """The anchor of the question on its page."""
        return f"q{self.id.replace('.', '-')}"


class QuestionMap(_Checked):
    """The contents of `docs/questions.toml`.

    Attributes:
        before: Commands to run once before those of a stage's questions.
        question: The questions, in the order of the plan.
    """

    before: dict[str, str]
    question: tuple[Question, ...]

    def question_by_id(self, id_: str) -> Question:
        """Return a question by its number.

        Raises:
            CitationError: if it does not exist.
        """
        for question in self.question:
            if question.id == id_:
                return question
        raise CitationError(f"there is no question {id_} in {MAP.name}")


def load(path: Path = MAP) -> QuestionMap:
    """Read the map."""
    return QuestionMap.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def answer_page(part: int, language: str) -> Path:
    """Return the page with the answers to a part of the plan."""
    return ROOT / "docs" / "questions" / f"part-{part}{'' if language == 'en' else '.' + language}.md"


def collapse(page: str) -> str:
    """Return a page with a line `{{ code … }}` for each inclusion, and with the anchors of headings in their lines."""
    return _ANCHORED.sub(r"\2 {#\1}", INCLUSION.sub(r"{{ \1 \2 }}", page))


def answers(page: str) -> dict[str, tuple[str, str]]:
    """Return the heading and the collapsed text of each answer on a page, by the question's number."""
    page = collapse(page)
    headings = list(_HEADING.finditer(page))
    ends = [heading.start() for heading in headings[1:]] + [len(page)]
    return {heading[1]: (heading[2], page[heading.end() : end]) for heading, end in zip(headings, ends, strict=True)}


def directives(answer: str, kind: str) -> list[str]:
    """Return the arguments of an answer's directives of one kind: citations of `code`, question numbers of `try`."""
    return [match[2] for match in _DIRECTIVE.finditer(answer) if match[1] == kind]


def check(the_map: QuestionMap, root: Path = ROOT) -> Iterator[str]:
    """Check the map, the answers, the citations and the tests against each other.

    Returns:
        A message for each problem, starting with the number of the question.
    """
    expected = [f"{part}.{place}" for part, count in PLAN.items() for place in range(1, count + 1)]
    found = [question.id for question in the_map.question]
    if found != expected:
        mismatched = sorted(set(expected) ^ set(found)) or found
        yield f"question {', '.join(mismatched)}: the map must have the plan's {len(expected)} questions in order"
    for question in the_map.question:
        yield from _check_code(question, root)
        yield from _check_tests(question, root)
    for language in LANGUAGES:
        for part in PLAN:
            ours = [question for question in the_map.question if question.part == part]
            yield from _check_answers(ours, answer_page(part, language), language)


def _check_code(question: Question, root: Path) -> Iterator[str]:
    for citation in question.code:
        try:
            resolve(citation, root)
        except CitationError as error:
            yield f"question {question.id}: broken citation: {error}"


def _check_tests(question: Question, root: Path) -> Iterator[str]:
    missing = [test for test in question.tests if not is_test(test, root)]
    yield from (f"question {question.id} names the test {test}: no such test" for test in missing)


def _check_answers(questions: Sequence[Question], page: Path, language: str) -> Iterator[str]:
    found = answers(page.read_text(encoding="utf-8")) if page.is_file() else {}
    for missing in sorted({question.id for question in questions} ^ set(found)):
        yield f"question {missing}: only one of {page.name} and the map has it"
    for question in questions:
        if question.id not in found:
            continue
        heading, answer = found[question.id]
        if heading != getattr(question, language):
            yield f"question {question.id}: {page.name} asks {heading!r}, which differs from the map"
        cited = directives(answer, "code")
        if different := set(cited) ^ set(question.code):
            yield f"question {question.id}: only one of {page.name} and the map cites {sorted(different)}"
        if directives(answer, "try") != [question.id]:
            yield f"question {question.id}: {page.name} must include `<!-- try {question.id} -->` once"
