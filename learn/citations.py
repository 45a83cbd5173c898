"""Citations: a name in the code becomes the code that stands there. Never a line number, which the next edit moves.

project1_qa_api/routes/ask.py:ask                     a function, with its decorators
project1_qa_api/answering.py:Answerer.stream          a method
project1_qa_api/main.py:ROUTERS                       an assignment of a module or a class
Dockerfile:project4                                   a stage of the build
docker-compose.yml:services.api                       a key, and what is below it
Makefile:run-project1                                 a target
.env.example:DATABASE_URL                             a variable
"""

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

_LANGUAGES = {
    ".py": "python",
    ".yml": "yaml",
    ".yaml": "yaml",
    "Dockerfile": "dockerfile",
    "Makefile": "makefile",
    ".env.example": "sh",
}
_Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class NotThere(Exception):
    """What a citation names does not exist. The message says what, and where it was looked for."""


@dataclass(frozen=True)
class Source:
    """Code that was cited.

    Attributes:
        path: Its file, from the repository's folder.
        name: What was cited of it.
        language: As highlighters call it.
        text: The code, from the first column on.
    """

    path: str
    name: str
    language: str
    text: str


def resolve(citation: str, root: Path = ROOT) -> Source:
    """Return the code that a citation names.

    Args:
        citation: `path:Qualified.name`, as above.
        root: What the path is relative to.

    Raises:
        NotThere: if there is no such file, or nothing of that name in it.
    """
    path, colon, name = citation.rpartition(":")
    if not colon or not path or not name:
        raise NotThere(f"{citation!r} is no citation: it has to be path:name")
    file = root / path
    if not file.is_file():
        raise NotThere(f"{citation}: there is no file {path}")
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    kind = file.suffix if file.suffix in _LANGUAGES and not file.name.startswith(".") else file.name
    match kind:
        case ".py":
            first, last = span(definition(citation, text, name))
        case ".yml" | ".yaml":
            first, last = _key(citation, lines, name)
        case _ if kind in _BLOCKS:
            begins, goes_on = _BLOCKS[kind]
            first, last = _block(citation, lines, re.compile(begins.format(re.escape(name))), re.compile(goes_on))
        case _:
            raise NotThere(f"{citation}: nothing can be cited of a file of this kind")
    return Source(path, name, _LANGUAGES[kind], textwrap.dedent("\n".join(lines[first:last])).rstrip())


def definition(citation: str, text: str, name: str) -> ast.stmt:
    """Find what a Python file defines.

    Args:
        citation: For the error.
        text: The file's.
        name: Qualified, such as `Class.method`.

    Raises:
        NotThere: if it defines nothing of that name.
    """
    body: Sequence[ast.stmt] = parsed(text).body
    *outer, last = name.split(".")
    for part in outer:
        found = next((node for node in body if isinstance(node, _Named) and node.name == part), None)
        if found is None:
            raise NotThere(f"{citation}: there is no {part} to look into")
        body = found.body
    for node in _statements(body):
        if last in _names(node):
            return node
    raise NotThere(f"{citation}: there is no function, class or assignment {last}")


def span(node: ast.stmt) -> tuple[int, int]:
    """Return the numbers, from 0, of the first line of a definition, its decorators', and of the one after its last."""
    decorators = node.decorator_list if isinstance(node, _Named) else []
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return first - 1, node.end_lineno or node.lineno


@cache
def parsed(text: str) -> ast.Module:
    """Parse Python; of a file that is cited several times, once."""
    return ast.parse(text)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Give statements, those inside an `if`, `with` or `try` too."""
    for node in body:
        yield node
        if not isinstance(node, _Named):
            yield from _statements([inner for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt)])


def _names(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Assign():
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


# Where something of a name begins in a file of this kind, and what the lines look like that belong to it.
_BLOCKS = {
    "Dockerfile": (r"FROM .* AS {}", r"(?!FROM ).*"),
    "Makefile": (r"{}:.*", r"\t.*"),
    ".env.example": (r"#?{}=.*", r"(?!)"),
}


def _block(citation: str, lines: Sequence[str], begins: re.Pattern[str], goes_on: re.Pattern[str]) -> tuple[int, int]:
    """Find a line, and those after it that belong to it."""
    first = next((number for number, line in enumerate(lines) if begins.fullmatch(line)), None)
    if first is None:
        raise NotThere(f"{citation}: no line begins it")
    last = first + 1
    while last < len(lines) and goes_on.fullmatch(lines[last]):
        last += 1
    while last > first + 1 and (not lines[last - 1].strip() or lines[last - 1].startswith("#")):
        last -= 1  # a comment there is about what comes next
    return first, last


def _key(citation: str, lines: Sequence[str], name: str) -> tuple[int, int]:
    """Find a key of a YAML file by its path, and what is indented below it."""
    first, last, indent = 0, len(lines), -1
    for part in name.split("."):
        key = re.compile(rf"( *){re.escape(part)}:(?: .*)?")
        inside = [(number, match) for number in range(first, last) if (match := key.fullmatch(lines[number]))]
        deeper = [(number, len(match[1])) for number, match in inside if len(match[1]) > indent]
        if not deeper:
            raise NotThere(f"{citation}: there is no key {part}")
        first, indent = min(deeper, key=lambda found: (found[1], found[0]))
        last = next((number for number in range(first + 1, last) if _indent(lines[number]) <= indent), last)
    return first, last


def _indent(line: str) -> float:
    text = line.lstrip()
    return len(line) - len(text) if text and not text.startswith("#") else float("inf")
