"""The chapters of the course: which files each reads, in which ten steps, and its part of the difference."""

import ast
import importlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from learn.differences import Difference, NewFile
from learn.facts import shared_imports
from learn.language import Language, Translated
from learn.stages import ROOT, STAGES, CommandError, Stage

PAGES = ROOT / "docs" / "chapters"
MAX_LINES = 3500  # of Python that a chapter adds
_STEP = re.compile(r"^(?:10|[1-9])\. `([^`]+)`(?:: |：)(.+)$", re.MULTILINE)


class _Read(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Chapter(_Read):
    """A chapter of a project.

    Attributes:
        number: The place in the project, such as `4.1`.
        plan: The plan's stages that it practises.
        files: Files and folders of the project's folder, as `chapters.toml` describes them.
    """

    project: int
    number: str
    name: str
    title: Translated
    plan: tuple[int, ...]
    questions: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def stage(self) -> Stage:
        """The stage that it belongs to."""
        return STAGES[self.project]

    @property
    def run_command(self) -> str:
        """The command that runs it: `CHAPTER=` chooses a program of its own, without it the whole project runs."""
        program = self.stage.folder / "chapters" / f"{self.name}.py"
        return f"make run-project{self.project}" + (f" CHAPTER={self.name}" if program.exists() else "")

    def page(self, language: Language) -> Path:
        """Return its page."""
        return PAGES / f"{self.name}{'.zh' if language == 'zh' else ''}.md"

    def steps(self, language: Language) -> list["Step"]:
        """Return the steps in which it is read, from its page."""
        return [Step(*found) for found in _STEP.findall(self.page(language).read_text("utf-8"))]


class ImportException(_Read):
    """A known import from a chapter into later ones."""

    from_: str = Field(alias="from")
    to: tuple[str, ...]
    why: str


class Chapters(_Read):
    """The map of the course."""

    chapter: tuple[Chapter, ...]
    exception: tuple[ImportException, ...]

    def of_project(self, project: int) -> Sequence[Chapter]:
        """Return the chapters of a project in their order."""
        return [chapter for chapter in self.chapter if chapter.project == project]

    def named(self, project: int, name: str) -> Chapter:
        """Return a chapter.

        Raises:
            CommandError: if there is none with this name.
        """
        chapters = {chapter.name: chapter for chapter in self.of_project(project)}
        if name not in chapters:
            names = ", ".join(chapters)
            raise CommandError(
                f"project {project} has no chapter {name}; there are: {names}",
                f"项目 {project} 没有名为 {name} 的章节；现有：{names}",
            )
        return chapters[name]

    def of_file(self, project: int, path: str) -> Chapter:
        """Return the chapter of a file: the one with the longest entry that matches it.

        Args:
            path: Relative to the project's folder.
        """
        entries = [
            (len(entry), chapter)
            for chapter in self.of_project(project)
            for entry in chapter.files
            if entry in ("", path) or (entry.endswith("/") and path.startswith(entry))
        ]
        return max(entries, key=lambda entry: entry[0])[1]


@dataclass(frozen=True)
class Step:
    """A step of reading.

    Attributes:
        place: A file, or a definition in it (`path.py:name`), relative to the repository.
        note: An explanation of the place, in Markdown.
    """

    place: str
    note: str


@cache
def load() -> Chapters:
    """Read `chapters.toml`."""
    return Chapters.model_validate(tomllib.loads(Path(__file__).with_name("chapters.toml").read_text("utf-8")))


@dataclass(frozen=True)
class ChapterDifference:
    """The part of a difference that a chapter reads.

    Attributes:
        shared_modules: Modules of `shared` that the chapter's files import and no earlier stage does, with summaries.
    """

    chapter: Chapter
    following: Chapter | None
    operations: Sequence[tuple[str, str]]
    shared_modules: Sequence[tuple[str, str]]
    files: Sequence[NewFile]


def part_of(found: Difference, chapter: Chapter) -> ChapterDifference:
    """Return a chapter's part of the difference between its stage and the one before."""
    chapters = load()
    files = [file for file in found.new_files if chapters.of_file(chapter.project, file.path) == chapter]
    sources = [found.later.files[file.path] for file in files if file.path.endswith(".py")]
    imported = set(shared_imports(sources))
    names = [name for file in files for name in operations_of_file(chapter.stage, file.path)]
    siblings = chapters.of_project(chapter.project)
    return ChapterDifference(
        chapter,
        next(iter(siblings[siblings.index(chapter) + 1 :]), None),
        [(name, found.operations[name].summary) for name in dict.fromkeys(names) if name in found.operations],
        [(path, summary) for path, summary in found.shared_modules.items() if path in imported],
        files,
    )


def operations_of_file(stage: Stage, path: str) -> list[str]:
    """Return the operations of a module of routes, or nothing for another file."""
    if not path.endswith("routes.py") and not path.startswith("routes/"):
        return []
    module = importlib.import_module(f"{stage.package}.{path.removesuffix('.py').replace('/', '.')}")
    routers = [value for value in vars(module).values() if isinstance(value, APIRouter)]
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return [f"{method} {route.path}" for route in routes for method in sorted(route.methods or ())]


def imports_of_later_chapters(project: int) -> Mapping[tuple[str, str], Sequence[str]]:
    """Return the imports from a chapter into a later one: the two names, and each import as `file -> file`."""
    chapters, stage = load(), STAGES[project]
    names = [chapter.name for chapter in chapters.of_project(project)]
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(stage.folder.rglob("*.py")):
        file = path.relative_to(stage.folder).as_posix()
        here = chapters.of_file(project, file).name
        for imported in _imported_files(stage, path):
            there = chapters.of_file(project, imported).name
            if names.index(there) > names.index(here):
                found.setdefault((here, there), []).append(f"{file} -> {imported}")
    return found


def _imported_files(stage: Stage, path: Path) -> set[str]:
    """Return the files of its own stage that a file imports, relative to the stage's folder."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == stage.package:
            modules |= {f"{node.module}.{name.name}" for name in node.names} | {str(node.module)}
    files = (name.partition(".")[2].replace(".", "/") + ".py" for name in modules)
    return {file for file in files if file != ".py" and (stage.folder / file).is_file()}
