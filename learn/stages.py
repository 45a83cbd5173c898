"""The four stages."""

import importlib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from learn.language import Language

ROOT = Path(__file__).parents[1]
WORKBENCH = ROOT / "workbench"
# Required settings. The applications are created but never started, so nothing connects to these addresses.
_ADDRESSES = {
    "openai_base_url": "http://127.0.0.1:9/v1",
    "llm_model": "model",
    "database_url": "postgresql://host/database",
    "embedding_model": "model",
    "redis_url": "redis://host",
    "jwt_secret": "x" * 32,
}


@dataclass(frozen=True)
class Stage:
    """A stage of the project, with its subject in English and Chinese."""

    number: int
    package: str
    title: str
    title_zh: str

    @property
    def name(self) -> str:
        """The name of its extra and of its migration branch, for example `project1`."""
        return self.package.partition("_")[0]

    @property
    def folder(self) -> Path:
        """The folder of its code."""
        return ROOT / self.package

    def module(self, name: str) -> Any:  # noqa: ANN401  modules have no common type
        """Import a module of the stage, for example `settings`."""
        return importlib.import_module(f"{self.package}.{name}")

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of the stage's API, which must not be changed."""
        return _openapi(self)


@cache
def _openapi(stage: Stage) -> dict[str, Any]:
    settings_class = stage.module("settings").Settings
    addresses = {name: value for name, value in _ADDRESSES.items() if name in settings_class.model_fields}
    document: dict[str, Any] = stage.module("main").create_app(settings_class(_env_file=None, **addresses)).openapi()
    return document


STAGES = {
    stage.number: stage
    for stage in (
        Stage(1, "project1_qa_api", "question answering", "问答 API"),
        Stage(2, "project2_user_mgmt", "users and messages", "用户与消息"),
        Stage(3, "project3_rag_docs", "documents", "文档检索与问答"),
        Stage(4, "project4_agent_api", "agents", "生产级 Agent API"),
    )
}


class CommandError(Exception):
    """A command cannot be carried out. The message is one line for the user.

    Args:
        zh: The message in Chinese, if there is one.
    """

    def __init__(self, message: str, zh: str | None = None) -> None:
        super().__init__(message)
        self._zh = zh or message

    def in_language(self, language: Language) -> str:
        """Return the message in a language."""
        return self._zh if language == "zh" else str(self)

    def report(self, language: Language) -> int:
        """Print the message to the standard error.

        Returns:
            The exit status.
        """
        sys.stderr.write(f"{'错误：' if language == 'zh' else 'error: '}{self.in_language(language)}\n")
        return 2


def echo(text: str = "") -> None:
    """Print a line and flush it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
