"""The settings of stage 1."""

from pydantic import Field

from shared import settings as shared


class Settings(shared.Settings):
    """What stage 1 can be told besides what every stage can be told."""

    port: int = Field(default=8001, ge=0, le=65535)
    system_prompt: str = Field(
        default="You are a helpful assistant. Give short, clear answers.",
        description="Sent with a question that brings no `system` of its own.",
    )
    batch_concurrency: int = Field(default=4, ge=1, description="Questions of one batch that are asked at once.")
    history_size: int = Field(default=50, ge=1, description="Exchanges that are kept for each owner.")
