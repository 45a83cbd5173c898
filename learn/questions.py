"""The questions of the study plan: where the code answers each, which tests show it, and how to see it for oneself.

`docs/questions.toml` is the map, `docs/questions/` has the answers: a page for each part of the plan, in English and in
Chinese. `check` says whether the two, the code and the tests agree.
"""

import ast
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from learn.citations import ROOT, NotThere, parsed, resolve

MAP = ROOT / "docs" / "questions.toml"
LANGUAGES = "en", "zh"
# How many questions each part of the plan has.
PLAN = {1: 5, 2: 6, 3: 6, 4: 6, 5: 6, 6: 5}

_HEADING = re.compile(r"^## (\d\.\d) (.+?) \{#q(\d)-(\d)\}$", re.MULTILINE)
_DIRECTIVE = re.compile(r"^\{\{ (code|try) (\S+) \}\}$", re.MULTILINE)


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Question(_Checked):
    """One question of the plan.

    Attributes:
        id: Its number in the plan: the part, then its place there.
        zh: As the plan asks it in Chinese.
        en: The same in English.
        code: Citations of what answers it.
        tests: Of pytest, which show that it is so.
        needs: What has to run first: a stage, such as `project3`; empty where nothing has to.
        command: To see it for oneself, from the repository's folder.
        output: What it prints, or a part of that.
        shows: What it prints in any case.
        not_run: Why no test runs the command; empty where one does.
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
        """Of the plan."""
        return int(self.id[0])

    @property
    def anchor(self) -> str:
        """On its page."""
        return f"q{self.id.replace('.', '-')}"


class Map(_Checked):
    """The whole file.

    Attributes:
        before: For a stage, what has to be typed once before its commands.
        question: In the order of the plan.
    """

    before: dict[str, str]
    question: tuple[Question, ...]

    def of(self, id_: str) -> Question:
        """Return a question.

        Raises:
            NotThere: if there is none of that number.
        """
        for question in self.question:
            if question.id == id_:
                return question
        raise NotThere(f"there is no question {id_} in {MAP.name}")


def load(path: Path = MAP) -> Map:
    """Read the map."""
    return Map.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def page_of(part: int, language: str) -> Path:
    """Return the page with the answers to a part of the plan."""
    return ROOT / "docs" / "questions" / f"part-{part}{'' if language == 'en' else '.' + language}.md"


def answers(page: str) -> dict[str, tuple[str, str]]:
    """Return, for each question that a page answers, the question as it stands there and the answer's text."""
    headings = list(_HEADING.finditer(page))
    ends = [heading.start() for heading in headings[1:]] + [len(page)]
    return {heading[1]: (heading[2], page[heading.end() : end]) for heading, end in zip(headings, ends, strict=True)}


def directives(answer: str, kind: str) -> list[str]:
    """Return what an answer includes: `code` by citation, or what there is to `try` by the question's number."""
    return [match[2] for match in _DIRECTIVE.finditer(answer) if match[1] == kind]


def check(the_map: Map, root: Path = ROOT) -> Iterator[str]:
    """Find what is wrong with the map, the answers, the citations and the tests.

    Returns:
        A sentence for each thing, beginning with the question that it is about.
    """
    expected = [f"{part}.{place}" for part, count in PLAN.items() for place in range(1, count + 1)]
    found = [question.id for question in the_map.question]
    if found != expected:
        wrong = sorted(set(expected) ^ set(found)) or found
        yield f"question {', '.join(wrong)}: the plan has {len(expected)} questions, in its order"
    for question in the_map.question:
        yield from _check_code(question, root)
        yield from _check_tests(question, root)
    for language in LANGUAGES:
        for part in PLAN:
            ours = [question for question in the_map.question if question.part == part]
            yield from _check_answers(ours, page_of(part, language), language)


def _check_code(question: Question, root: Path) -> Iterator[str]:
    for citation in question.code:
        try:
            resolve(citation, root)
        except NotThere as error:
            yield f"question {question.id} cites what is not there: {error}"


def _check_tests(question: Question, root: Path) -> Iterator[str]:
    for test in question.tests:
        path, _, name = test.partition("::")
        file = root / path
        if not file.is_file() or not name:
            yield f"question {question.id} is shown by {test}: there is no such file"
            continue
        nodes = ast.walk(parsed(file.read_text(encoding="utf-8")))
        names = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        if name not in names:
            yield f"question {question.id} is shown by {test}: there is no such test"


def _check_answers(questions: Sequence[Question], page: Path, language: str) -> Iterator[str]:
    given = answers(page.read_text(encoding="utf-8")) if page.is_file() else {}
    for missing in sorted({question.id for question in questions} ^ set(given)):
        yield f"question {missing}: {page.name} and the map do not both have it"
    for question in questions:
        if question.id not in given:
            continue
        asked, answer = given[question.id]
        if asked != getattr(question, language):
            yield f"question {question.id}: {page.name} asks {asked!r}, and the map something else"
        cited = directives(answer, "code")
        if different := set(cited) ^ set(question.code):
            yield f"question {question.id}: of {sorted(different)} only one of {page.name} and the map knows"
        if directives(answer, "try") != [question.id]:
            yield f"question {question.id}: {page.name} has to include {{{{ try {question.id} }}}} once"
