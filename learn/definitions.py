"""Compare the definitions of two versions of a file: only those that the later one replaces, extends or adds.

A definition that a later stage lacks is inherited: it is no removal, and does not appear.
"""

import ast
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from learn.citations import span

_LONG = 12  # lines; of a longer new definition only its beginning is shown


@dataclass(frozen=True)
class Compared:
    """A definition of the later version, or the whole file if it is not Python, or defines nothing.

    Attributes:
        kind: `extended` if it builds on the earlier one: a subclass, or a list that contains the earlier list.
        before: Lines of the earlier version; empty if it is new or extended.
        after: Lines of the later version.
    """

    name: str
    kind: Literal["replaced", "extended", "new"]
    before: Sequence[str]
    after: Sequence[str]

    def unified(self) -> Iterator[str]:
        """Yield the lines of a diff, without a header for the file."""
        yield f"@@ {self.name} ({self.kind}) @@" if self.name else f"@@ {self.kind} @@"
        if self.kind == "replaced":
            yield from list(difflib.unified_diff(self.before, self.after, lineterm=""))[3:]
        else:
            yield from (f"+{line}" for line in self.after)


def compare_definitions(path: str, before: str, after: str) -> list[Compared]:
    """Return what differs between two versions of a file, in the order of the later one."""
    earlier, later = (_definitions(text) if path.endswith(".py") else {} for text in (before, after))
    if before == after:
        return []
    if not later or not earlier:
        if path.endswith(".py") and not _statements(after):
            return []  # only a docstring
        return [Compared("", "replaced", before.splitlines(), after.splitlines())]
    inherited = _names_of_earlier_stages(after)
    found = []
    for name, node in later.items():
        lines = _source(after, node)
        if name not in earlier:
            found.append(Compared(name, "new", [], _beginning(node, lines)))
        elif _extends(node, inherited):
            found.append(Compared(name, "extended", [], lines))
        elif lines != (old := _source(before, earlier[name])):
            found.append(Compared(name, "replaced", old, lines))
    return found


def _statements(text: str) -> list[ast.stmt]:
    body = ast.parse(text).body
    return [node for node in body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]


def _definitions(text: str) -> dict[str, ast.stmt]:
    """Return the functions, classes and constants of a module, by name."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(text).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
    return found


def _names_of_earlier_stages(text: str) -> set[str]:
    imports = [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
    return {
        name.asname or name.name for node in imports if (node.module or "").startswith("project") for name in node.names
    }


def _extends(node: ast.stmt, inherited: set[str]) -> bool:
    match node:
        case ast.ClassDef():
            return any(isinstance(base, ast.Name) and base.id in inherited for base in node.bases)
        case ast.Assign(value=ast.List(elts=parts)) | ast.AnnAssign(value=ast.List(elts=parts)):
            return any(isinstance(part, ast.Starred) and isinstance(part.value, ast.Attribute) for part in parts)
    return False


def _source(text: str, node: ast.stmt) -> list[str]:
    lines = text.splitlines()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        first, last = span(node)
        return lines[first:last]
    return lines[node.lineno - 1 : node.end_lineno]


def _beginning(node: ast.stmt, lines: list[str]) -> list[str]:
    """Return a definition, or its beginning up to its docstring if it is long."""
    if len(lines) <= _LONG or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return lines
    first, _ = span(node)
    return [*lines[: (node.body[0].end_lineno or node.lineno) - first], "    …"]
