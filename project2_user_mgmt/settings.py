"""Settings of stage 2."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from project1_qa_api.settings import Settings as Stage1Settings
from shared.database.address import check_session_address, connection_parameters, passwords


def _postgresql(value: str | None) -> str | None:
    if value is not None:
        connection_parameters(value)
    return value


class Settings(Stage1Settings):
    """Settings of stage 2, in addition to those of stage 1."""

    port: int = Field(default=8002, ge=0, le=65535, description="Port to listen on.")
    database_url: Annotated[str, AfterValidator(_postgresql)] = Field(
        repr=False, description="Address of the PostgreSQL database, which may contain a password."
    )
    database_session_url: Annotated[str | None, AfterValidator(_postgresql)] = Field(
        default=None,
        repr=False,
        description="Address of the database itself, for notifications, jobs and migrations, if DATABASE_URL is a "
        "pooler in transaction mode (`?pgbouncer=true`).",
    )
    db_pool_size: int = Field(default=10, ge=1, description="Maximum database connections of a process.")
    db_pool_timeout_seconds: float = Field(default=3, gt=0, description="Maximum wait for a free connection.")
    db_connect_timeout_seconds: int = Field(default=3, ge=1, description="Maximum time to open a connection.")
    db_statement_timeout_seconds: float = Field(
        default=5, gt=0, description="Maximum time of one statement; an unresponsive server gets 1 s more."
    )
    context_tokens: int = Field(
        default=2000, ge=100, description="Maximum length of the conversation in a prompt, in estimated tokens."
    )

    @model_validator(mode="after")
    def _require_session_address(self) -> Self:
        check_session_address(self.database_url, self.database_session_url)
        return self

    def secrets(self) -> list[str]:
        """Return the values that must never appear in a log."""
        addresses = filter(None, (self.database_url, self.database_session_url))
        return [*super().secrets(), *(password for address in addresses for password in passwords(address))]
