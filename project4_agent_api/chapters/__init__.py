"""Chapters of stage 4: each serves its own part of the stage and the parts before it, and nothing after it.

`make run-project4 CHAPTER=agents` runs the first. All use the stage's database, port and data, so that an account of
one chapter exists in the next. `learn/chapters.toml` says which files each chapter reads.
"""

from collections.abc import Mapping
from typing import Self

from pydantic import Field, SecretStr, model_validator

from project4_agent_api.settings import Settings
from shared.chapters import Chapter


class ChapterSettings(Settings):
    """The settings of a chapter."""

    @model_validator(mode="after")
    def _only_in_development(self) -> Self:
        if self.production:
            raise ValueError("a chapter lacks what protects the service in production; run the stage without CHAPTER")
        return self


class WithoutRedis(ChapterSettings):
    """The settings of the chapters in which one process keeps everything that is shared later."""

    redis_url: str = Field(default="redis://unused", repr=False, description="Not used.")


class OneUser(WithoutRedis):
    """The settings of the chapter in which nobody signs in."""

    jwt_secret: SecretStr = Field(default=SecretStr(""), description="Not used.")


CHAPTERS: Mapping[str, Chapter] = {
    "agents": Chapter(OneUser),
    "accounts": Chapter(WithoutRedis),
    "limits": Chapter(ChapterSettings),
    "assistants": Chapter(ChapterSettings),
    "threads": Chapter(ChapterSettings),
    "runs": Chapter(ChapterSettings, worker=True),
    "streams": Chapter(ChapterSettings, worker=True),
    "openai": Chapter(ChapterSettings, worker=True),
    "mcp": Chapter(ChapterSettings, worker=True),
    "projects": Chapter(ChapterSettings, worker=True),
    "operations": Chapter(ChapterSettings, worker=True),
}
