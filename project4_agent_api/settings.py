"""The settings of stage 4."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from project3_rag_docs.settings import Settings as Stage3Settings

_SHORTEST_SECRET = 32  # bytes: what HMAC-SHA256 needs (RFC 7518, section 3.2)


def _redis(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must be a redis:// or rediss:// address")
    return value


class Settings(Stage3Settings):
    """What stage 4 can be told besides what stage 3 can be told."""

    port: int = Field(default=8004, ge=0, le=65535)
    redis_url: Annotated[str, AfterValidator(_redis)] = Field(repr=False)  # it may hold a password

    jwt_secret: SecretStr = Field(
        min_length=_SHORTEST_SECRET, description="Signs the access tokens; 32 bytes or more of randomness."
    )
    auth_required: bool = Field(
        default=True, description="Without it everyone is one local user: for development only, refused in production."
    )
    access_token_minutes: int = Field(default=15, ge=1, le=1440, description="How long an access token is good for.")
    refresh_token_days: int = Field(default=30, ge=1, le=365, description="How long a sign-in lasts without use.")

    worker_concurrency: int = Field(default=20, ge=1, le=1000, description="Runs that a worker executes at once.")
    run_timeout_seconds: float = Field(default=3600, gt=0, description="How long one run may take.")
    run_attempts: int = Field(default=3, ge=1, le=100, description="How often a run is begun that a worker died at.")
    lease_seconds: float = Field(
        default=15, ge=1, description="After which a worker that says nothing is taken for dead; its runs go to others."
    )
    run_events_seconds: int = Field(
        default=3600, ge=60, description="How long the events of a run that has ended can still be read again."
    )

    @model_validator(mode="after")
    def _locked_in_production(self) -> Self:
        if self.production and not self.auth_required:
            raise ValueError("AUTH_REQUIRED must be true in production")
        return self

    def secrets(self) -> list[str]:
        """The values that must never be seen in a log."""
        password = self.redis_url.partition("://")[2].rpartition("@")[0].partition(":")[2]
        return [*super().secrets(), *([password] if password else [])]
