"""Places in the code by name, `FOLDER/FILE.py:Class.method`: what is cited moves without its citation being wrong."""

import ast
from dataclasses import dataclass
from pathlib import Path

from learn.stages import CannotDo

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Place:
    """A definition in a file.

    Attributes:
        path: Of the file, under the folder that was asked.
        name: Qualified, such as `Class.method`.
        text: The file's.
        node: The definition; its line numbers are those of `text`.
    """

    path: str
    name: str
    text: str
    node: Definition

    @property
    def source(self) -> str:
        """The definition's text, with its decorators."""
        first = min([self.node.lineno, *(decorator.lineno for decorator in self.node.decorator_list)])
        return "".join(self.text.splitlines(keepends=True)[first - 1 : self.node.end_lineno])


def find(folder: Path, place: str) -> Place:
    """Find a place.

    Args:
        folder: The project's, or a copy's.
        place: Such as `shared/pagination.py:page_of`.

    Raises:
        CannotDo: if there is no such file or no such definition, or it is no Python.
    """
    path, _, name = place.partition(":")
    try:
        text = (folder / path).read_text("utf-8")
        tree = ast.parse(text)
    except OSError:
        raise CannotDo(f"{place}: there is no file {path}") from None
    except SyntaxError as error:
        raise CannotDo(f"{path}, line {error.lineno}: {error.msg}") from None
    node: ast.AST = tree
    for part in name.split("."):
        found = [one for one in ast.iter_child_nodes(node) if isinstance(one, Definition) and one.name == part]
        if not found:
            raise CannotDo(f"{place}: there is no {part} in {path}")
        node = found[-1]
    if not isinstance(node, Definition):
        raise CannotDo(f"{place}: a name is missing")
    return Place(path, name, text, node)
