"""Request and response bodies of crons."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from langgraph_sdk.schema import CronSelectField, CronSortBy, MultitaskStrategy, OnCompletionBehavior
from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from project4_agent_api.core.schemas import JsonObject, LangGraphBody, Search, selection
from project4_agent_api.crons.schedule import validate_schedule, validate_timezone
from project4_agent_api.runs.schemas import AssistantName, RunOptions
from shared.schemas import STORABLE_MOMENT


def _utc_if_naive(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, Field(strict=False), AfterValidator(_utc_if_naive), STORABLE_MOMENT]
Schedule = Annotated[
    str,
    Field(
        max_length=200,
        description="Minute, hour, day of the month, month, day of the week, and optionally second.",
        examples=["0 9 * * 1"],
    ),
    AfterValidator(validate_schedule),
]
Timezone = Annotated[
    str,
    Field(max_length=100, description="The time zone of its hours; default UTC.", examples=["Europe/Berlin"]),
    AfterValidator(validate_timezone),
]


class CronOptions(RunOptions):
    """How a cron's runs are executed, and until when."""

    timezone: Timezone | None = None
    end_time: Moment | None = Field(default=None, description="After this time it is not due.")
    enabled: bool | None = None


class _NewCron(CronOptions):
    assistant_id: AssistantName
    schedule: Schedule
    multitask_strategy: MultitaskStrategy | None = None


class ThreadCronCreate(_NewCron):
    """A cron to be created that runs on a thread."""


class CronCreate(_NewCron):
    """A cron to be created that runs on a new thread each time."""

    on_run_completed: OnCompletionBehavior | None = Field(
        default=None, description="What happens to a run's thread when the run has ended; default `delete`."
    )


class CronPatch(CronOptions):
    """Changes of a cron."""

    schedule: Schedule | None = None
    on_run_completed: OnCompletionBehavior | None = None

    @model_validator(mode="before")
    @classmethod
    def _something(cls, value: Any) -> Any:  # noqa: ANN401  any JSON
        if value == {}:
            raise ValueError("must change something")
        return value


class CronFilter(LangGraphBody):
    """A filter for crons."""

    assistant_id: AssistantName | None = None
    thread_id: Annotated[UUID, Field(strict=False)] | None = None
    metadata: JsonObject | None = Field(default=None, description="Metadata that it must contain.")


class CronSearch(Search, CronFilter):
    """A search for crons."""

    enabled: bool | None = None
    sort_by: CronSortBy | None = None
    select: list[CronSelectField] | None = Field(default=None, description="Only these fields.")


class CronRead(BaseModel):
    """A cron in a response."""

    model_config = ConfigDict(from_attributes=True)

    cron_id: UUID
    assistant_id: UUID
    thread_id: UUID | None
    user_id: str = Field(validation_alias=AliasChoices("owner_id", "user_id"))
    schedule: str
    timezone: str | None
    payload: dict[str, Any] = Field(description="The fields of its runs.")
    metadata: dict[str, Any] = Field(validation_alias=AliasChoices("meta", "metadata"))
    on_run_completed: OnCompletionBehavior | None
    enabled: bool
    end_time: datetime | None
    next_run_date: datetime | None = Field(description="Null if it is not due again before its `end_time`.")
    created_at: datetime
    updated_at: datetime

    @field_validator("payload")
    @classmethod
    def _without_user(cls, payload: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in payload.items() if name != "langgraph_auth_user"}

    @field_validator("user_id", mode="before")
    @classmethod
    def _as_text(cls, owner_id: object) -> str:
        return str(owner_id)


CronSelection = selection(CronRead)
