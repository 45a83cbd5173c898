"""The time, which no model knows."""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from langchain_core.tools import ToolException, tool


@tool(parse_docstring=True)
def current_time(timezone: str = "UTC") -> str:
    """Tell what time it is now, and what day.

    Args:
        timezone: Where, as an IANA name such as "Europe/Berlin" or "Asia/Shanghai".
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolException(
            f"There is no time zone {timezone[:60]!r}. Names are like Europe/Berlin, Asia/Shanghai or UTC."
        ) from None
    now = datetime.now(zone)
    return f"{now:%A, %-d %B %Y, %H:%M:%S} in {timezone} ({now:%Y-%m-%dT%H:%M:%S%:z})"
