"""Texts in English and Chinese."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Language = Literal["en", "zh"]


class Translated(BaseModel):
    """A text in both languages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: str
    zh: str

    def in_language(self, language: Language) -> str:
        """Return the text in a language."""
        return self.zh if language == "zh" else self.en


def load_words(pages: str, file: str = "words.toml") -> dict[Language, Mapping[str, str]]:
    """Return the texts of a group of generated pages, by language."""
    groups = tomllib.loads(Path(__file__).with_name(file).read_text("utf-8"))
    words: dict[Language, Mapping[str, str]] = groups[pages]
    return words


def terminal_language() -> Language:
    """Return the language of the terminal: Chinese if the locale is Chinese, otherwise English."""
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"
