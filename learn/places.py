"""Find definitions by name (`FOLDER/FILE.py:Class.method`), so that an edit elsewhere breaks no citation."""

import ast
from dataclasses import dataclass
from pathlib import Path

from learn.citations import CitationError, definition, span
from learn.stages import CommandError

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Place:
    """A definition in a file.

    Attributes:
        path: The file's path, relative to the folder that was searched.
        name: The qualified name, such as `Class.method`.
        node: The definition; its line numbers refer to `text`.
    """

    path: str
    name: str
    text: str
    node: Definition

    @property
    def source(self) -> str:
        """The definition's source, with its decorators."""
        first, last = span(self.node)
        return "".join(self.text.splitlines(keepends=True)[first:last])


def find_definition(folder: Path, place: str) -> Place:
    """Find a definition.

    Args:
        folder: The project's folder, or that of a working copy.
        place: For example `shared/pagination.py:split_page`.

    Raises:
        CommandError: if the file or the definition does not exist, or the file is not valid Python.
    """
    path, _, name = place.partition(":")
    try:
        text = (folder / path).read_text("utf-8")
        node = definition(place, text, name)
    except OSError:
        raise CommandError(f"{place}: there is no file {path}", f"{place}：没有文件 {path}") from None
    except SyntaxError as error:
        raise CommandError(
            f"{path}, line {error.lineno}: {error.msg}", f"{path} 第 {error.lineno} 行有语法错误：{error.msg}"
        ) from None
    except CitationError as error:
        raise CommandError(str(error)) from None
    except ValueError as error:  # bytes that are not UTF-8, or zero bytes
        raise CommandError(f"{path}: {error}", f"{path} 不是 UTF-8 编码的 Python 文件：{error}") from None
    if not isinstance(node, Definition):
        raise CommandError(f"{place}: it is neither a function nor a class")
    return Place(path, name, text, node)
