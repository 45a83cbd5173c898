"""When something is due again: the five fields of cron, and seconds as a sixth at the end, read in a time zone."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def checked_schedule(schedule: str) -> str:
    """Return a schedule that makes sense.

    Raises:
        ValueError: if it does not, or names a day that there never is.
    """
    if len(_fields(schedule)) not in {5, 6}:
        raise ValueError(
            "must have five fields (minute, hour, day of the month, month, day of the week), or six with the second at"
            " the end, or be @daily"
        )
    if next_time(schedule, None, datetime(2024, 1, 1, tzinfo=UTC)) is None:
        raise ValueError("is never due")
    return schedule


def checked_timezone(name: str) -> str:
    """Return the name of a time zone.

    Raises:
        ValueError: if there is none.
    """
    if name not in _timezones():
        raise ValueError("must be a time zone of the IANA's, such as America/New_York")
    return name


@lru_cache(maxsize=1)
def _timezones() -> set[str]:
    return available_timezones()


def next_time(schedule: str, timezone: str | None, after: datetime) -> datetime | None:
    """Return when a schedule is due next; None if never.

    Where clocks are put forward, a time of day that is left out is due right after; where they are put back, one that
    comes twice is due once. What is due every hour or oftener goes by what has passed.

    Args:
        schedule: Five or six fields, or a nickname.
        timezone: Where its hours are meant; None for UTC.
        after: The answer is later than this, in UTC.

    Raises:
        ValueError: if it is no schedule.
    """
    try:
        times = CronSim(" ".join(_fields(schedule)), after.astimezone(ZoneInfo(timezone or "UTC")))
        for time in times:
            # Of an hour that comes twice the first is meant: when it has passed, the day after is next.
            if (due := time.astimezone(UTC)) > after:
                return due
    except CronSimError as error:
        raise ValueError(f"is no schedule: {error}") from error
    except AssertionError as error:
        raise ValueError("is no schedule: a step makes no sense") from error
    return None


def _fields(schedule: str) -> list[str]:
    """Return the fields as the library wants them: where there is one of seconds, at the beginning."""
    fields = _NICKNAMES.get(schedule.strip().lower(), schedule).split()
    # Some write ? for the day that does not matter.
    fields = ["*" if place in {2, 4} and field == "?" else field for place, field in enumerate(fields)]
    return [fields[5], *fields[:5]] if len(fields) == 6 else fields
