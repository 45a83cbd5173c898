"""Cron schedules: five fields, or six with the seconds last, in a time zone."""

from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from shared.errors import InvalidRequest

_CHECKED_TIMES = 1000
_CHECKED_YEARS = 50  # a rare schedule would end beyond the last year that there is
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def validate_schedule(schedule: str) -> str:
    """Return a valid schedule unchanged.

    Raises:
        ValueError: if it is invalid, or only matches days that do not exist.
    """
    if len(_fields(schedule)) not in {5, 6}:
        raise ValueError(
            "must have five fields (minute, hour, day of the month, month, day of the week), or six with the second at"
            " the end, or be @daily"
        )
    if next_time(schedule, None, datetime(2024, 1, 1, tzinfo=UTC)) is None:
        raise ValueError("is never due")
    return schedule


def validate_timezone(name: str) -> str:
    """Return the name of a time zone unchanged.

    Raises:
        ValueError: if there is no such time zone.
    """
    if name not in _timezones():
        raise ValueError("must be a time zone of the IANA's, such as America/New_York")
    return name


@lru_cache(maxsize=1)
def _timezones() -> set[str]:
    return available_timezones()


def require_interval(schedule: str, shortest_seconds: float) -> None:
    """Check that a schedule is not due more often than allowed, as far as its first thousand times in 50 years show.

    Raises:
        InvalidRequest: if it is.
    """
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = CronSim(" ".join(_fields(schedule)), start)
    first = takewhile(lambda time: time.year < start.year + _CHECKED_YEARS, islice(times, _CHECKED_TIMES))
    for earlier, later in pairwise(first):
        if (later - earlier).total_seconds() < shortest_seconds:
            raise InvalidRequest(f"A schedule must not be due more often than every {shortest_seconds:g} seconds.")


def next_due(schedule: str, timezone: str | None, after: datetime, end_time: datetime | None) -> datetime | None:
    """Return when a cron is due next; None if never, or not before its end."""
    due = next_time(schedule, timezone, after)
    return None if due is None or (end_time is not None and due > end_time) else due


def next_time(schedule: str, timezone: str | None, after: datetime) -> datetime | None:
    """Return when a schedule is due next; None if never.

    When clocks are put forward, a skipped time of day is due right after the change; when they are put back, a repeated
    one is due once. Schedules with a shorter period than a day follow the elapsed time.

    Args:
        schedule: Five or six fields, or a nickname.
        timezone: The time zone of its hours; None for UTC.
        after: The result is later than this, in UTC.

    Raises:
        ValueError: if the schedule is invalid.
    """
    try:
        times = CronSim(" ".join(_fields(schedule)), after.astimezone(ZoneInfo(timezone or "UTC")))
        for time in times:
            # A repeated hour means its first occurrence: when that has passed, the next day is due.
            if (due := time.astimezone(UTC)) > after:
                return due
    except CronSimError as error:
        raise ValueError(f"is no schedule: {error}") from error
    except AssertionError as error:
        raise ValueError("is no schedule: a step makes no sense") from error
    return None


def _fields(schedule: str) -> list[str]:
    """Return the fields in the order of the library, which expects the seconds first."""
    fields = _NICKNAMES.get(schedule.strip().lower(), schedule).split()
    # Some dialects write ? for a day that is not restricted.
    fields = ["*" if place in {2, 4} and field == "?" else field for place, field in enumerate(fields)]
    return [fields[5], *fields[:5]] if len(fields) == 6 else fields
