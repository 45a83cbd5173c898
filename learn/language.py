"""Texts in English and in Chinese."""

import os
from typing import Literal

from pydantic import BaseModel, ConfigDict

Language = Literal["en", "zh"]


class Said(BaseModel):
    """A text in both languages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: str
    zh: str

    def in_language(self, language: Language) -> str:
        """Return it in one of them."""
        return self.zh if language == "zh" else self.en


def of_terminal() -> Language:
    """Return the language that the environment asks for: Chinese where it does, else English."""
    asked = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return "zh" if asked.lower().startswith("zh") else "en"
