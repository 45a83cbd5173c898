"""Record the learner's path from the README to the tenth solved exercise: every command, every edit and every output.

`make docs-code` writes it to docs/path.md and docs/path.zh.md; a test records it again and compares.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from learn import checklist, exercises
from learn.exercise_commands import Session
from learn.exercises import COPIES, Check, Copies, Exercise
from learn.included import DOCS, fenced
from learn.language import Language, load_words
from learn.stages import ROOT, echo

PAGES: Mapping[Language, Path] = {"en": DOCS / "path.md", "zh": DOCS / "path.zh.md"}
_LAST = 10
_WORDS = load_words("path", "walk.toml")


def record() -> dict[Language, str]:
    """Walk the path in both languages, and return the text of each page."""
    verdicts: dict[tuple[str, bytes], Sequence[Check]] = {}

    def judge(chosen: Sequence[Exercise], judged: str | Path) -> Mapping[str, Sequence[Check]]:
        """Judge each version of a file once: the verdict does not depend on the language."""
        key = chosen[0].name, Path(judged).read_bytes()
        if key not in verdicts:
            verdicts[key] = exercises.judge(chosen, judged)[chosen[0].name]
        return {chosen[0].name: verdicts[key]}

    pages: dict[Language, str] = {}
    for language in PAGES:
        with TemporaryDirectory() as folder:
            copies = Copies(Path(folder), judge)
            page = "\n".join(_walk(copies, language))
        pages[language] = page.replace(folder, str(COPIES.relative_to(ROOT)))
    return pages


def _walk(copies: Copies, language: Language) -> Iterator[str]:
    words = _WORDS[language]
    session = Session(language, copies)
    first, *others = exercises.load()[:_LAST]
    solution = _solution(first)
    # The first function is right, the second one not annotated yet.
    cut = solution.index("\n\n\n", solution.index("\n\n\n") + 1)
    half = solution[:cut] + _starter(first)[_starter(first).rindex("\n\n\n") :]

    yield words["lead"]
    yield words["begin"]
    yield from _command("make learn", session.report)
    yield words["half"].format(_shown(copies, first))
    yield from _edit(copies, first, half, language)
    yield from _command("make learn", session.report)
    yield words["hint"]
    yield from _command("make learn-hint", lambda: session.hint(first))
    yield words["rest"]
    yield from _edit(copies, first, solution, language)
    yield from _command("make learn", session.report)
    for number, one in enumerate(others, start=2):
        yield words["next"].format(number, one.title.in_language(language), _shown(copies, one))
        yield from _edit(copies, one, _solution(one), language)
        yield from _command("make learn", session.report)
    yield words["list"]
    yield from _command("make checklist PLAN=1", lambda: checklist.report(1, language, copies))
    yield words["end"]


def _command(command: str, run: Callable[[], object]) -> Iterator[str]:
    """Yield a command and its output."""
    with redirect_stdout(StringIO()) as printed:
        run()
    yield fenced(command, "sh")
    yield fenced(printed.getvalue().strip(), "text")


def _edit(copies: Copies, one: Exercise, text: str, language: Language) -> Iterator[str]:
    """Write a learner's file, and yield the change as a diff."""
    path = copies.path(one)
    before = path.read_text("utf-8")
    path.write_text(text, "utf-8")
    header, lines = 2, list(difflib.unified_diff(before.splitlines(), text.splitlines(), lineterm="", n=1))
    yield f"<details markdown>\n<summary>{_WORDS[language]['edit']}</summary>\n"
    yield fenced("\n".join(lines[header:]), "diff")
    yield "</details>\n"


def _shown(copies: Copies, one: Exercise) -> str:
    return str(copies.path(one))


def _starter(one: Exercise) -> str:
    return (one.folder / "exercise.py").read_text("utf-8")


def _solution(one: Exercise) -> str:
    return (one.folder / "solution.py").read_text("utf-8")


def main() -> int:
    """Write both pages.

    Returns:
        The exit status, 0.
    """
    for language, page in record().items():
        path = PAGES[language]
        if not path.is_file() or path.read_text("utf-8") != page:
            path.write_text(page, "utf-8")
            echo(str(path.relative_to(ROOT)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
