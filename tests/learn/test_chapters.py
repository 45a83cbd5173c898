"""The map of the course: every file in one chapter, and each chapter's pages, steps and commands."""

import importlib
import os
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from learn import questions
from learn.chapters import MAX_LINES, PAGES, Chapter, imports_of_later_chapters, load, operations_of_file
from learn.citations import ROOT, resolve
from learn.language import Language
from learn.stages import STAGES
from local.launcher import launch
from project4_agent_api.chapters import CHAPTERS as CHAPTERS_OF_STAGE_4
from project4_agent_api.worker import create_worker
from shared.errors import ConfigurationError
from tests.support.databases import Databases
from tests.support.running import running

MAP = load()
LANGUAGES: list[Language] = ["en", "zh"]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def python_files(project: int) -> list[str]:
    folder = STAGES[project].folder
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*.py")]


@pytest.mark.parametrize("project", STAGES)
def test_every_file_is_in_one_chapter(project: int) -> None:
    entries = [entry for chapter in MAP.of_project(project) for entry in chapter.files]

    assert len(entries) == len(set(entries))
    assert [MAP.of_file(project, file).project for file in python_files(project)] == [project] * len(
        python_files(project)
    )
    folder = STAGES[project].folder
    assert [entry for entry in entries if not (folder / entry).exists()] == []


def test_new_files_belong_to_the_chapter_of_their_folder() -> None:
    assert MAP.of_file(4, "runs/new.py").name == "runs"
    assert MAP.of_file(4, "runs/graph_events.py").name == "streams"
    assert MAP.of_file(4, "core/new.py").name == "limits"
    assert MAP.of_file(4, "new.py").name == "operations"


@pytest.mark.parametrize("chapter", MAP.of_project(4), ids=lambda chapter: chapter.name)
def test_chapters_of_stage_4_are_small(chapter: Chapter) -> None:
    files = [file for file in python_files(4) if MAP.of_file(4, file) == chapter]

    lines = sum((STAGES[4].folder / file).read_text("utf-8").count("\n") for file in files)
    assert 0 < lines <= MAX_LINES


def test_imports_of_later_chapters_are_the_listed_ones() -> None:
    listed = {(exception.from_, to) for exception in MAP.exception for to in exception.to}

    found = imports_of_later_chapters(4)
    assert {pair: imports for pair, imports in found.items() if pair not in listed} == {}


def test_every_question_is_answered_by_one_chapter() -> None:
    answered = [question for chapter in MAP.chapter for question in chapter.questions]

    assert sorted(answered) == sorted(question.id for question in questions.load().question)


@pytest.mark.parametrize("chapter", MAP.chapter, ids=lambda chapter: chapter.name)
def test_chapter_has_ten_steps_that_exist(chapter: Chapter) -> None:
    english, chinese = (chapter.steps(language) for language in LANGUAGES)

    assert len(english) == 10
    assert [step.place for step in chinese] == [step.place for step in english]
    assert all(re.search(r"[\u4e00-\u9fff]", step.note) for step in chinese)
    for step in english:
        path, _, name = step.place.partition(":")
        assert (ROOT / path).is_file()
        assert not name or resolve(step.place).text


@pytest.mark.parametrize("chapter", MAP.chapter, ids=lambda chapter: chapter.name)
@pytest.mark.parametrize("language", LANGUAGES)
def test_page_links_its_questions_and_the_map_links_the_page(chapter: Chapter, language: Language) -> None:
    page = chapter.page(language).read_text("utf-8")
    index = (PAGES / f"index{'.zh' if language == 'zh' else ''}.md").read_text("utf-8")

    assert [question for question in chapter.questions if f"[{question}](../questions/" not in page] == []
    row = next(line for line in index.splitlines() if f"]({chapter.page(language).name})" in line)
    assert row.startswith(f"| {', '.join(map(str, chapter.plan))} | [{chapter.project}](")
    assert [question for question in chapter.questions if f"[{question}]" not in row] == []
    assert chapter.title.in_language(language) in row
    assert f"`{chapter.run_command}`" in row
    assert _BLOCK.findall(page) == _BLOCK.findall(chapter.page("en").read_text("utf-8"))


@pytest.mark.parametrize("project", [3, 4])
def test_launcher_knows_the_chapters_of_the_map(project: int) -> None:
    with pytest.raises(ConfigurationError) as refused:
        launch(f"project{project}", chapter="none")

    names = str(refused.value).partition("there are: ")[2].split(", ")
    expected = [chapter.name for chapter in MAP.of_project(project)]
    assert names == [name for name in expected if name != "documents"]


def test_chapter_serves_nothing_of_a_later_one(facts: list[Any]) -> None:
    names = [chapter.name for chapter in MAP.of_project(4)]
    served: set[str] = set()
    for name in names:
        module = importlib.import_module(f"project4_agent_api.chapters.{name}")
        operations = _operations(module.create_app(_settings(name)))
        assert served - operations <= {"POST /chat", "POST /chat/stream"}
        served = operations
        own = {
            operation
            for later in names[names.index(name) + 1 :]
            for operation in _operations_of(later)
            if operation in operations
        }
        assert own == set(), f"{name} serves what belongs to a later chapter"
    assert served == set(facts[3].operations)


def _settings(name: str) -> Any:  # noqa: ANN401  the settings of a chapter
    addresses: dict[str, Any] = {
        "openai_base_url": "http://127.0.0.1:9/v1",
        "llm_model": "model",
        "database_url": "postgresql://host/database",
        "embedding_model": "model",
        "redis_url": "redis://host",
        "jwt_secret": "x1" * 32,
    }
    return CHAPTERS_OF_STAGE_4[name].settings(_env_file=None, **addresses)


def _operations(app: Any) -> set[str]:  # noqa: ANN401  an application
    paths = app.openapi()["paths"]
    return {f"{method.upper()} {path}" for path, item in paths.items() for method in item}


def _operations_of(name: str) -> set[str]:
    """Return the operations of the modules of routes that a chapter reads."""
    files = [file for file in python_files(4) if MAP.of_file(4, file).name == name]
    return {operation for file in files for operation in operations_of_file(STAGES[4], file)}


@pytest.mark.slow
@pytest.mark.parametrize("chapter", MAP.chapter, ids=lambda chapter: chapter.name)
def test_commands_print_what_the_page_says(
    chapter: Chapter, embedded_model_url: str, databases: Databases, redis_url: str
) -> None:
    blocks = _BLOCK.findall(chapter.page("en").read_text("utf-8"))
    [commands] = [text for kind, text in blocks if kind == "sh" and "curl" in text]
    [output] = [text for kind, text in blocks if kind == "text"]
    with ExitStack() as stack:
        url = stack.enter_context(_running(chapter, embedded_model_url, stack, databases, redis_url))
        script = re.sub(r"http://127\.0\.0\.1:800\d", url, commands)
        ran = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False, timeout=100
        )

    printed = ran.stdout.replace("\r", "")
    assert [line for line in output.splitlines() if line not in printed] == [], printed + ran.stderr


def _running(chapter: Chapter, model: str, stack: ExitStack, databases: Databases, redis_url: str) -> Any:  # noqa: ANN401  a context manager
    package = chapter.stage.package
    is_program = (chapter.stage.folder / "chapters" / f"{chapter.name}.py").is_file()
    module: Any = importlib.import_module(f"{package}.chapters.{chapter.name}" if is_program else f"{package}.main")
    settings_class: Any = chapter.stage.module("settings").Settings
    if chapter.project == 4:
        settings_class = CHAPTERS_OF_STAGE_4[chapter.name].settings
    values: dict[str, Any] = {
        "app_env": "test",
        "openai_base_url": model,
        "llm_model": "smollm2-135m-instruct",
        "embedding_model": "multilingual-e5-small",
        "jwt_secret": "a secret of the tests, with more than 32 bytes",
        "redis_url": redis_url,
    }
    if chapter.project > 1:
        values["database_url"] = stack.enter_context(databases.migrated(package))
    values = {name: value for name, value in values.items() if name in settings_class.model_fields}
    settings = settings_class(_env_file=None, **values)
    if chapter.project == 4 and CHAPTERS_OF_STAGE_4[chapter.name].worker:
        stack.enter_context(running(create_worker(settings)))
    return running(module.create_app(settings))


def test_pages_have_no_strays() -> None:
    names = {f"{chapter.name}{suffix}.md" for chapter in MAP.chapter for suffix in ("", ".zh")}

    assert {page.name for page in Path(PAGES).iterdir()} == names | {"index.md", "index.zh.md"}
