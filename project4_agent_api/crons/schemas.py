"""Runs to come, again and again, as they go over the wire."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from project4_agent_api.core.schemas import JsonObject, Search, selection
from project4_agent_api.crons.schedule import checked_schedule, checked_timezone
from project4_agent_api.runs.schemas import AssistantName, MultitaskStrategy, RunOptions
from shared.schemas import RequestBody


def _with_zone(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, Field(strict=False), AfterValidator(_with_zone)]
Schedule = Annotated[
    str,
    Field(
        max_length=200,
        description="Minute, hour, day of the month, month, day of the week; and second, if there is a sixth field.",
        examples=["0 9 * * 1"],
    ),
    AfterValidator(checked_schedule),
]
Timezone = Annotated[
    str,
    Field(max_length=100, description="Where its hours are meant; UTC where it is null.", examples=["Europe/Berlin"]),
    AfterValidator(checked_timezone),
]
WhatBecomes = Literal["delete", "keep"]


class CronOptions(RunOptions):
    """How its runs are made, and until when."""

    timezone: Timezone | None = None
    end_time: Moment | None = Field(default=None, description="After which it is not due any more.")
    enabled: bool | None = None


class _NewCron(CronOptions):
    assistant_id: AssistantName
    schedule: Schedule
    multitask_strategy: MultitaskStrategy | None = None


class ThreadCronCreate(_NewCron):
    """Runs to come on a thread."""


class CronCreate(_NewCron):
    """Runs to come, each on a thread of its own."""

    on_run_completed: WhatBecomes | None = Field(
        default=None, description="What becomes of a run's thread when it has ended; `delete` where it is null."
    )


class CronPatch(CronOptions):
    """What is to change."""

    schedule: Schedule | None = None
    on_run_completed: WhatBecomes | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must change something")
        return self


class CronFilter(RequestBody):
    """Which schedules."""

    assistant_id: AssistantName | None = None
    thread_id: Annotated[UUID, Field(strict=False)] | None = None
    metadata: JsonObject | None = Field(default=None, description="What its metadata must contain.")


CronField = Literal[
    "cron_id",
    "assistant_id",
    "thread_id",
    "on_run_completed",
    "end_time",
    "schedule",
    "timezone",
    "created_at",
    "updated_at",
    "user_id",
    "payload",
    "next_run_date",
    "metadata",
    "enabled",
]


class CronSearch(Search, CronFilter):
    """Which schedules, and in what order."""

    enabled: bool | None = None
    sort_by: (
        Literal["cron_id", "assistant_id", "thread_id", "created_at", "updated_at", "next_run_date", "end_time"] | None
    ) = None
    select: list[CronField] | None = Field(default=None, description="Only these fields.")


class CronRead(BaseModel):
    """Runs to come, again and again."""

    model_config = ConfigDict(from_attributes=True)

    cron_id: UUID
    assistant_id: UUID
    thread_id: UUID | None
    user_id: str = Field(validation_alias=AliasChoices("owner_id", "user_id"))
    schedule: str
    timezone: str | None
    payload: dict[str, Any] = Field(description="What its runs are made of.")
    metadata: dict[str, Any] = Field(validation_alias=AliasChoices("meta", "metadata"))
    on_run_completed: WhatBecomes | None
    enabled: bool
    end_time: datetime | None
    next_run_date: datetime | None = Field(description="Null where it is not due again before its `end_time`.")
    created_at: datetime
    updated_at: datetime

    @field_validator("user_id", mode="before")
    @classmethod
    def _as_text(cls, owner_id: object) -> str:
        return str(owner_id)


CronSelection = selection(CronRead)
