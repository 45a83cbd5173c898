"""Texts in English and Chinese."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Language = Literal["en", "zh"]
_BOTH = re.compile(
    r"(?P<error>(?:\w+(?:Error|Exception|Failed): )?)(?P<en>[^\u4e00-\u9fff]+) / (?P<zh>.*[\u4e00-\u9fff].*)"
)


class Translated(BaseModel):
    """A text in both languages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: str
    zh: str

    def in_language(self, language: Language) -> str:
        """Return the text in a language."""
        return self.zh if language == "zh" else self.en


def part_in_language(line: str, language: Language) -> str:
    """Return the part of `ENGLISH / 中文` in a language, after the name of the error; any other line as it is."""
    found = _BOTH.fullmatch(line)
    return line if not found else found["error"] + found[language]


def load_words(pages: str, file: str = "words.toml") -> dict[Language, Mapping[str, str]]:
    """Return the texts of a group of generated pages, by language."""
    groups = tomllib.loads(Path(__file__).with_name(file).read_text("utf-8"))
    words: dict[Language, Mapping[str, str]] = groups[pages]
    return words
