"""Generators: values one after the other, each made when it is needed."""

from collections.abc import Iterable, Iterator


def chunks(text: str, size: int) -> Iterator[str]:
    """Yield the pieces of a text, each of `size` characters, the last one perhaps shorter."""
    for start in range(0, len(text), size):
        yield text[start : start + size]


def without_blank_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines that have text, without the white space around it. Reads no more lines than needed."""
    for line in lines:
        stripped = line.strip()
        if stripped:
            yield stripped
