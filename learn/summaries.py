"""Summaries of what the code defines, in Chinese. The English ones are the first sentences of docstrings."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from learn.language import Language

Kind = Literal["operations", "settings", "shared", "folders", "processes", "services"]


def in_language(kind: Kind, name: str, english: str, language: Language) -> str:
    """Return the summary of an item in a language: in English if there is no Chinese one yet.

    Args:
        name: Name of an operation (`POST /users`), a setting (`PORT`), a module of `shared`, a folder of a stage …
    """
    return english if language == "en" else _chinese().get(kind, {}).get(name, english)


@cache
def _chinese() -> Mapping[str, Mapping[str, str]]:
    return tomllib.loads(Path(__file__).with_name("summaries.zh.toml").read_text("utf-8"))
