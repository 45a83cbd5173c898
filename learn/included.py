"""`python -m learn.included`: write the included blocks of the pages in docs/: cited code, commands with output, lists.

A page has each block between two comments, so that it reads well on a code host, too:

    <!-- code project1_qa_api/main.py:ROUTERS -->        <!-- try 1.1 -->        <!-- decisions all -->
    ... written by this command ...
    <!-- /code -->                                       <!-- /try -->           <!-- /decisions -->

`make docs-code` writes them again after a change of the code; a test compares. The docs site (`learn.site`) has titles
and generated pages that a code host lacks: `for_site` turns a page into the form that the site takes.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from learn import chapters, exercises, practice, questions
from learn.citations import ROOT, CitationError, resolve
from learn.language import Language, load_words
from learn.stages import STAGES, CommandError, echo

DOCS = ROOT / "docs"
_GENERATED = re.compile(r"(stages|reference)/|differences/\d")  # of docs/, by the site's build; git has none of them
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCED = re.compile(r"^ *(`{3,}).*?^ *\1$", re.MULTILINE | re.DOTALL)
_WORDS = load_words("questions")
_MAP_WORDS = load_words("map", "walk.toml")
_PACKAGES = {number: stage.package for number, stage in STAGES.items()}


def pages() -> list[Path]:
    """Return the pages of docs/ that are in git."""
    return [page for page in sorted(DOCS.rglob("*.md")) if not _GENERATED.match(page.relative_to(DOCS).as_posix())]


def language_of(page: Path) -> Language:
    """Return the language of a page."""
    return "zh" if page.name.endswith((".zh.md", ".zh-CN.md")) else "en"


def expand(text: str, page: Path) -> str:
    """Return the text of a page with its inclusions written again.

    Raises:
        CitationError: if one of them names something that does not exist.
    """
    return questions.INCLUSION.sub(lambda found: _block(found[1], found[2], page), text)


def _block(kind: str, argument: str, page: Path) -> str:
    match kind:
        case "code":
            source = resolve(argument)
            target = os.path.relpath(ROOT / source.path, page.parent)
            text = f"[`{source.path}`]({target}), `{source.name}`:\n\n{fenced(source.text, source.language)}"
        case "try":
            the_map = questions.load()
            text = attempt(the_map, the_map.question_by_id(argument), language_of(page))
        case "map":
            text = f"{course_map(page)}\n"
        case _:
            text = f"{decisions()}\n"
    return f"<!-- {kind} {argument} -->\n\n{text}\n<!-- /{kind} -->"


def titled_code(citation: str) -> str:
    """Return cited code in a block with a title, as the site takes it."""
    source = resolve(citation)
    return fenced(source.text, source.language, title=f"{source.path} · {source.name}")


def decisions() -> str:
    """Return a list of links to the decisions, by title."""
    paths = sorted((DOCS / "decisions").glob("0*.md"))
    titles = {path.name: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for path in paths}
    return "\n".join(f"- [{title}]({name})" for name, title in titles.items())


def attempt(the_map: questions.QuestionMap, question: questions.Question, language: Language) -> str:
    """Return the command of a question, its output, and the tests that show it."""
    words: Mapping[str, str] = _WORDS[language]
    lines = [f"**{words['try']}**", ""]
    if question.needs:
        kind = "before" if question.needs in the_map.before else "needs"
        lines += [words[kind].format(command=f"make run-{question.needs}"), ""]
        if kind == "before":
            lines += [fenced(the_map.before[question.needs].strip(), "sh")]
    lines += [fenced(question.command.strip(), "sh"), words["prints"], "", fenced(question.output.strip(), "text")]
    if question.not_run:
        lines += [words["not_run"].format(reason=question.not_run), ""]
    run = ".venv/bin/python -m pytest " + " \\\n    ".join(question.tests)
    lines += ["<details markdown>", f"<summary>{words['tests']}</summary>", "", fenced(run, "sh"), "</details>", ""]
    return "\n".join(lines)


def course_map(page: Path) -> str:
    """Return a table with the questions, exercises, projects and chapters of each stage of the plan."""
    language = language_of(page)
    words = _MAP_WORDS[language]
    rows = [words["head"], "| --- | --- | --- | --- | --- |"]
    for plan, count in questions.PLAN.items():
        asked = questions.answer_page(plan, language)
        cells = [str(plan), _link(f"{plan}.1–{plan}.{count}", asked, page), _foundations(plan)]
        named = [
            function
            for function in practice.exercises()
            if any(item.startswith(f"C{plan}.") for item in function.items)
        ]
        cells += [", ".join(f"`{function.name}` ({function.project})" for function in named) or "–"]
        shown = [chapter for chapter in chapters.load().chapter if plan in chapter.plan]
        cells += [
            ", ".join(
                _link(f"{chapter.project}: {chapter.title.in_language(language)}", chapter.page(language), page)
                for chapter in shown
            )
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _link(label: str, target: Path, page: Path) -> str:
    return f"[{label}]({os.path.relpath(target, page.parent)})"


def _foundations(plan: int) -> str:
    """Return the numbers of a stage's exercises, with ranges for neighbours, and its small project."""
    names = [exercise.name for exercise in exercises.load() if exercise.plan == plan]
    numbers = sorted(int(name.partition("-")[0]) for name in names if name[0].isdigit())
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    ranges = [f"{start}" if start == end else f"{start}–{end}" for start, end in zip(starts, ends, strict=True)]
    return ", ".join([*ranges, *(f"`{name}`" for name in names if not name[0].isdigit())])


def fenced(text: str, language: str, title: str = "") -> str:
    """Return a text in a fenced block whose fence the text does not contain."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`{3,}", text))])
    options = f' title="{title}"' if title else ""
    return f"{fence}{language}{options}\n{text}\n{fence}\n"


def for_site(text: str, page: Path) -> str:
    """Return a page as the docs site takes it: collapsed, with links to its own pages, and to nothing outside docs/."""
    return outside_code(questions.collapse(text), lambda part: _LINK.sub(lambda found: _site_link(found, page), part))


def _site_link(found: re.Match[str], page: Path) -> str:
    """Return a link of the site: its plugin for languages finds the page in the reader's own."""
    picture, label, target = found.groups()
    path, hash_, anchor = target.partition("#")
    if picture or "://" in target or not path:
        return found[0]
    name = os.path.relpath(page.parent / path, ROOT)
    for number, package in _PACKAGES.items():
        if name in {package, f"{package}/README.md", f"{package}/README.zh-CN.md"}:
            here = os.path.relpath(DOCS / "stages" / f"stage-{number}.md", page.parent)
            return f"[{label}]({here}{hash_}{anchor})"
    if not name.startswith("docs/"):
        return label
    return f"[{label}]({path.replace('.zh.md', '.md')}{hash_}{anchor})"


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Apply a change to the parts of a page outside its fenced blocks."""
    parts, end = [], 0
    for block in FENCED.finditer(text):
        parts += [change(text[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, change(text[end:])])


def changed() -> Iterator[tuple[Path, str]]:
    """Yield the pages whose inclusions differ from their sources, with the text that they should have."""
    for page in pages():
        text = page.read_text("utf-8")
        if (written := expand(text, page)) != text:
            yield page, written


def main() -> int:
    """Write the inclusions again, and print the pages that changed.

    Returns:
        The exit status: 0; 2 if something that a page includes does not exist.
    """
    try:
        found = list(changed())
    except CitationError as error:
        return CommandError(str(error)).report("en")
    for page, text in found:
        page.write_text(text, "utf-8")
        echo(str(page.relative_to(ROOT)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
