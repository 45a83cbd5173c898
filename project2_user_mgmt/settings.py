"""The settings of stage 2."""

from typing import Annotated

from pydantic import AfterValidator, Field

from project1_qa_api.settings import Settings as Stage1Settings


def _postgresql(value: str) -> str:
    if not value.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        raise ValueError("must be a postgresql:// address")
    return value


class Settings(Stage1Settings):
    """What stage 2 can be told besides what stage 1 can be told."""

    port: int = Field(default=8002, ge=0, le=65535)
    database_url: Annotated[str, AfterValidator(_postgresql)] = Field(repr=False)  # it may hold a password
    db_pool_size: int = Field(default=10, ge=1, description="Connections that a process keeps open, at most.")
    db_pool_timeout_seconds: float = Field(default=3, gt=0, description="How long a request waits for one of them.")
    db_connect_timeout_seconds: int = Field(default=3, ge=1, description="How long opening one may take.")
    db_statement_timeout_seconds: float = Field(
        default=5, gt=0, description="How long one statement may run; a server that says nothing is given 1 s more."
    )
    context_tokens: int = Field(
        default=2000, ge=100, description="How much of a conversation the model is shown, in tokens, about."
    )

    def secrets(self) -> list[str]:
        """The values that must never be seen in a log."""
        password = self.database_url.partition("://")[2].rpartition("@")[0].partition(":")[2]
        return [*super().secrets(), *([password] if password else [])]
