"""The current time, in any time zone."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from langchain_core.tools import ToolException, tool


@tool(parse_docstring=True)
def current_time(timezone: str = "UTC") -> str:
    """Tell what time it is now, and what day.

    Args:
        timezone: Where, as an IANA name such as "Europe/Berlin" or "Asia/Shanghai".
    """
    name = _timezones().get(timezone.strip().replace(" ", "_").casefold())
    if name is None:
        raise ToolException(
            f"There is no time zone {timezone[:60]!r}. Names are like Europe/Berlin, Asia/Shanghai or UTC."
        )
    now = datetime.now(ZoneInfo(name))
    return f"{now:%A}, {now.day} {now:%B %Y, %H:%M:%S} in {name} ({now.isoformat(timespec='seconds')})"


@cache
def _timezones() -> Mapping[str, str]:
    """Return the zones by name, and by city alone: models omit the continent."""
    names = sorted(available_timezones())
    cities = {name.rpartition("/")[2].casefold(): name for name in reversed(names)}
    return cities | {name.casefold(): name for name in names}
