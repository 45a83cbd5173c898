"""Settings of stage 2."""

from typing import Annotated

from pydantic import AfterValidator, Field

from project1_qa_api.settings import Settings as Stage1Settings
from shared.database.address import connection_parameters, passwords


def _postgresql(value: str) -> str:
    connection_parameters(value)
    return value


class Settings(Stage1Settings):
    """Settings of stage 2, in addition to those of stage 1."""

    port: int = Field(default=8002, ge=0, le=65535)
    database_url: Annotated[str, AfterValidator(_postgresql)] = Field(repr=False)  # it may hold a password
    db_pool_size: int = Field(default=10, ge=1, description="Maximum database connections of a process.")
    db_pool_timeout_seconds: float = Field(default=3, gt=0, description="Maximum wait for a free connection.")
    db_connect_timeout_seconds: int = Field(default=3, ge=1, description="Maximum time to open a connection.")
    db_statement_timeout_seconds: float = Field(
        default=5, gt=0, description="Maximum time of one statement; an unresponsive server gets 1 s more."
    )
    context_tokens: int = Field(
        default=2000, ge=100, description="Maximum length of the conversation in a prompt, in estimated tokens."
    )

    def secrets(self) -> list[str]:
        """Return the values that must never appear in a log."""
        return [*super().secrets(), *passwords(self.database_url)]
