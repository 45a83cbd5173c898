"""Places in the code by name, `FOLDER/FILE.py:Class.method`: what is cited moves without its citation being wrong."""

import ast
from dataclasses import dataclass
from pathlib import Path

from learn.citations import NotThere, definition, span
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
        first, last = span(self.node)
        return "".join(self.text.splitlines(keepends=True)[first:last])


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
        node = definition(place, text, name)
    except OSError:
        raise CannotDo(f"{place}: there is no file {path}") from None
    except SyntaxError as error:
        raise CannotDo(f"{path}, line {error.lineno}: {error.msg}") from None
    except NotThere as error:
        raise CannotDo(str(error)) from None
    if not isinstance(node, Definition):
        raise CannotDo(f"{place}: it is no function and no class")
    return Place(path, name, text, node)
