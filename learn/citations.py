"""Citations of code by name, never by line number, which the next edit moves.

project1_qa_api/routes/ask.py:ask                     a function with its decorators
project1_qa_api/answering.py:Answerer.stream          a method
project1_qa_api/main.py:ROUTERS                       an assignment of a module or a class
Dockerfile:project4                                   a stage of the build
docker-compose.yml:services.api                       a key and everything below it
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


class CitationError(Exception):
    """A citation names something that does not exist. The message says what, and in which file."""


@dataclass(frozen=True)
class Source:
    """Cited code.

    Attributes:
        path: Relative to the repository's folder.
        language: The highlighter's name of the language.
        text: The code, dedented.
    """

    path: str
    name: str
    language: str
    text: str


def resolve(citation: str, root: Path = ROOT) -> Source:
    """Return the code that a citation names.

    Args:
        root: The folder to which the path is relative.

    Raises:
        CitationError: if the file or the name does not exist.
    """
    path, colon, name = citation.rpartition(":")
    if not colon or not path or not name:
        raise CitationError(f"{citation!r} is not a citation: it must be path:name")
    file = root / path
    if not file.is_file():
        raise CitationError(f"{citation}: there is no file {path}")
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    kind = file.suffix if file.suffix in _LANGUAGES and not file.name.startswith(".") else file.name
    match kind:
        case ".py":
            first, last = span(definition(citation, text, name))
        case ".yml" | ".yaml":
            first, last = _key(citation, lines, name)
        case _ if kind in _BLOCKS:
            first_line, next_lines = _BLOCKS[kind]
            first, last = _block(
                citation, lines, re.compile(first_line.format(re.escape(name))), re.compile(next_lines)
            )
        case _:
            raise CitationError(f"{citation}: files of this kind cannot be cited")
    return Source(path, name, _LANGUAGES[kind], textwrap.dedent("\n".join(lines[first:last])).rstrip())


def definition(citation: str, text: str, name: str) -> ast.stmt:
    """Find a definition in a Python file.

    Args:
        name: The qualified name, such as `Class.method`.

    Raises:
        CitationError: if the file does not define the name.
    """
    body: Sequence[ast.stmt] = parsed(text).body
    *outer, last = name.split(".")
    for part in outer:
        found = next((node for node in body if isinstance(node, _Named) and node.name == part), None)
        if found is None:
            raise CitationError(f"{citation}: there is no {part}")
        body = found.body
    for node in _statements(body):
        if last in _names(node):
            return node
    raise CitationError(f"{citation}: there is no function, class or assignment {last}")


def is_test(node_id: str, root: Path = ROOT) -> bool:
    """Return whether there is a test with a node id, `path::name` or `path::Class::name`, without parameters."""
    path, _, name = node_id.partition("::")
    file = root / path
    if not file.is_file() or not name:
        return False
    try:
        node = definition(node_id, file.read_text(encoding="utf-8"), name.replace("::", "."))
    except CitationError:
        return False
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def span(node: ast.stmt) -> tuple[int, int]:
    """Return the line range of a definition with its decorators: first line and end, counted from 0."""
    decorators = node.decorator_list if isinstance(node, _Named) else []
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return first - 1, node.end_lineno or node.lineno


@cache
def parsed(text: str) -> ast.Module:
    """Parse Python source, once for a file that is cited several times."""
    return ast.parse(text)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, including those inside an `if`, `with` or `try`."""
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


# For each kind of file: a pattern for the first line of a named block, and one for the lines that follow.
_BLOCKS = {
    "Dockerfile": (r"FROM .* AS {}", r"(?!FROM ).*"),
    "Makefile": (r"{}:.*", r"\t.*"),
    ".env.example": (r"#?{}=.*", r"(?!)"),
}


def _block(
    citation: str, lines: Sequence[str], first_line: re.Pattern[str], next_lines: re.Pattern[str]
) -> tuple[int, int]:
    """Return the line range of a block."""
    first = next((number for number, line in enumerate(lines) if first_line.fullmatch(line)), None)
    if first is None:
        raise CitationError(f"{citation}: no line starts it")
    last = first + 1
    while last < len(lines) and next_lines.fullmatch(lines[last]):
        last += 1
    while last > first + 1 and (not lines[last - 1].strip() or lines[last - 1].startswith("#")):
        last -= 1  # a trailing comment belongs to the next block
    return first, last


def _key(citation: str, lines: Sequence[str], name: str) -> tuple[int, int]:
    """Return the line range of a YAML key, found by its path, with everything indented below it."""
    first, last, indent = 0, len(lines), -1
    for part in name.split("."):
        key = re.compile(rf"( *){re.escape(part)}:(?: .*)?")
        inside = [(number, match) for number in range(first, last) if (match := key.fullmatch(lines[number]))]
        deeper = [(number, len(match[1])) for number, match in inside if len(match[1]) > indent]
        if not deeper:
            raise CitationError(f"{citation}: there is no key {part}")
        first, indent = min(deeper, key=lambda found: (found[1], found[0]))
        last = next((number for number in range(first + 1, last) if _indent(lines[number]) <= indent), last)
    return first, last


def _indent(line: str) -> float:
    text = line.lstrip()
    return len(line) - len(text) if text and not text.startswith("#") else float("inf")
