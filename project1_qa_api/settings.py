"""Settings of stage 1."""

from pydantic import Field

from shared import settings as shared


class Settings(shared.Settings):
    """Settings of stage 1, in addition to those of every stage."""

    port: int = Field(default=8001, ge=0, le=65535, description="Port to listen on.")
    system_prompt: str = Field(
        default="You are a helpful assistant. Give short, clear answers.",
        description="System prompt of questions without `system`.",
    )
    batch_concurrency: int = Field(default=4, ge=1, description="Maximum concurrent model calls of a batch.")
    history_size: int = Field(default=50, ge=1, description="Exchanges to keep for each owner.")
