"""Lines of source, and where they and the questions that explain them are opened."""

import functools
import inspect
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from urllib.parse import quote

from pydantic import BaseModel

from shared.xray.rows import Source

ROOT = Path(__file__).parents[2]
_OWN = (str(ROOT / "shared" / "xray"), str(ROOT / ".venv"))

_EVENT_LOOP = "/asyncio/runners.py"  # what called it has called everything

# Functions that execute a statement for another one, which is the more interesting.
_HELPERS = (str(ROOT / "shared" / "database"), str(ROOT / "project4_agent_api" / "core" / "postgres.py"))

# The question of the study plan that explains a kind of row.
QUESTIONS = {
    "request": "2.1",
    "middleware": "2.2",
    "dependencies": "2.2",
    "dependency": "2.2",
    "handler": "1.2",
    "response": "1.4",
    "background": "2.4",
    "pool": "3.6",
    "sql": "3.2",
    "redis": "5.3",
    "embedding": "3.4",
    "model": "4.2",
    "tool": "4.5",
    "node": "4.6",
    "frame": "2.5",
    "queue": "5.5",
    "wait": "5.5",
    "worker": "5.5",
    "control": "5.6",
}


class Question(BaseModel):
    """A question of the study plan, and where its answer is."""

    id: str
    en: str
    zh: str
    en_url: str
    zh_url: str


def line_of(function: object) -> Source | None:
    """Return the first line of a function, of a class, or of an instance's `__call__`."""
    target = inspect.unwrap(function) if callable(function) else function
    while isinstance(target, functools.partial | functools.partialmethod):
        target = target.func
    code = getattr(target, "__code__", None)
    if not isinstance(code, CodeType):
        kind = target if isinstance(target, type) else type(target)
        code = getattr(getattr(kind, "__call__" if kind is not target else "__init__", None), "__code__", None)
        name = kind.__qualname__
    else:
        name = getattr(target, "__qualname__", code.co_name)
    if not isinstance(code, CodeType):
        return None
    return Source(path=code.co_filename, line=code.co_firstlineno, function=name)


def line_of_name(name: str, modules: Mapping[str, ModuleType]) -> Source | None:
    """Return the line of a function that OpenTelemetry names, such as `project1_qa_api.routes.ask.ask`."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        if module := modules.get(".".join(parts[:length])):
            found: object = module
            for part in parts[length:]:
                found = getattr(found, part, None)
            return line_of(found) if callable(found) else None
    return None


def function_of_node(name: str) -> object:
    """Return the method of a middleware of this project that is a node, such as `Approval.after_model`; else None."""
    owner, _, method = name.partition(".")
    for module in list(sys.modules.values()) if method else ():
        kind = vars(module).get(owner)
        if isinstance(kind, type) and (_file_of(kind) or "").startswith(str(ROOT)):
            return getattr(kind, f"a{method}", None) or getattr(kind, method, None)
    return None


def _file_of(kind: type) -> str | None:
    return getattr(sys.modules.get(kind.__module__), "__file__", None)


def calling_line(*skipped: Path) -> Source | None:
    """Return the innermost line of the project that is being executed, outside this package and some folders."""
    outside = (*_OWN, *_HELPERS, *map(str, skipped))
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  there is no other way to it that is as fast
    while frame and not frame.f_code.co_filename.endswith(_EVENT_LOOP):
        path = frame.f_code.co_filename
        if path.startswith(str(ROOT)) and not path.startswith(outside):
            return Source(path=path, line=frame.f_lineno, function=frame.f_code.co_qualname)
        frame = frame.f_back or _outside_greenlet(frame)
    return None


def _outside_greenlet(frame: FrameType) -> FrameType | None:
    """Return the frame that waits for a greenlet, in which SQLAlchemy executes its synchronous code."""
    greenlet = sys.modules.get("greenlet")
    parent = greenlet.getcurrent().parent if greenlet else None
    outside: FrameType | None = parent.gr_frame if parent else None
    return None if outside is frame else outside


class Links:
    """Addresses of lines and answers.

    Args:
        editor_url: With `{path}`, from the root without its slash, and `{line}`.
        site: Address of the built site of the course, or empty: then answers are opened in the editor.
    """

    def __init__(self, editor_url: str, site: str) -> None:
        self._editor_url = editor_url
        self._site = site

    def line(self, source: Source) -> str:
        """Return the address of a line."""
        return self._editor(Path(source.path), source.line)

    def _editor(self, path: Path, line: int) -> str:
        return self._editor_url.replace("{path}", quote(str(path).removeprefix("/"))).replace("{line}", str(line))

    def questions(self) -> dict[str, Question]:
        """Return the question that explains each kind of row; none in an image, which has no course."""
        return {kind: self._question(number, *asked()[number]) for kind, number in QUESTIONS.items() if asked()}

    def _question(self, number: str, en: str, zh: str) -> Question:
        return Question(id=number, en=en, zh=zh, en_url=self._answer(number, "en"), zh_url=self._answer(number, "zh"))

    def _answer(self, number: str, language: str) -> str:
        part, _, _ = number.partition(".")
        anchor = f"q{number.replace('.', '-')}"
        if self._site:
            return f"{self._site}/{'zh/' if language == 'zh' else ''}questions/part-{part}.html#{anchor}"
        page = ROOT / "docs" / "questions" / f"part-{part}{'.zh' if language == 'zh' else ''}.md"
        before, _, _ = page.read_text(encoding="utf-8").partition(f'id="{anchor}"')
        return self._editor(page, before.count("\n") + 1)


@functools.cache
def asked() -> dict[str, tuple[str, str]]:
    """Return the study plan's questions in English and Chinese, by number."""
    try:
        text = (ROOT / "docs" / "questions.toml").read_text(encoding="utf-8")
    except OSError:
        return {}
    return {
        question["id"]: (re.sub("`", "", question["en"]), re.sub("`", "", question["zh"]))
        for question in tomllib.loads(text)["question"]
    }
