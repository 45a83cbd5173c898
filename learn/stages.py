"""The four stages, as the tools of this folder speak of them."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WORKBENCH = ROOT / "workbench"
# What a stage's settings have to be told. Nothing is connected to: an application is made, and never started.
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
    """One stage.

    Attributes:
        number: 1 to 4.
        package: Its folder.
        title: What it is about, in English.
        title_zh: The same in Chinese.
    """

    number: int
    package: str
    title: str
    title_zh: str

    @property
    def name(self) -> str:
        """For example `project1`: the name of its extra, and of its branch of migrations."""
        return self.package.partition("_")[0]

    @property
    def folder(self) -> Path:
        """Where its code is."""
        return ROOT / self.package

    def module(self, name: str) -> Any:  # noqa: ANN401  modules of a name have no common type
        """Import a module of the stage, for example `settings`."""
        return importlib.import_module(f"{self.package}.{name}")

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of the stage's API."""
        settings_class = self.module("settings").Settings
        given = {name: value for name, value in _ADDRESSES.items() if name in settings_class.model_fields}
        document: dict[str, Any] = self.module("main").create_app(settings_class(_env_file=None, **given)).openapi()
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


class CannotDo(Exception):
    """What was asked for cannot be done. The message is one line for whoever asked."""


def say(text: str = "") -> None:
    """Write a line to the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
