"""Numbers of spreadsheets as their number format shows them. Dates are always written as in ISO 8601."""

import re
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

BUILTIN_FORMATS = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    14: "yyyy-mm-dd",
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm",
    19: "h:mm:ss",
    20: "h:mm",
    21: "h:mm:ss",
    22: "m/d/yy h:mm",
    37: "#,##0",
    38: "#,##0",
    39: "#,##0.00",
    40: "#,##0.00",
    41: "#,##0",
    42: "$#,##0",
    43: "#,##0.00",
    44: "$#,##0.00",
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
    48: "##0.0E+0",
    **dict.fromkeys([*range(27, 32), *range(50, 55), 57, 58], "yyyy-mm-dd"),
    **dict.fromkeys([*range(32, 36), 55, 56], "h:mm:ss"),
}
_TOKEN = re.compile(r'"([^"]*)"|\\(.)|[_*].|\[\$([^\]-]*)[^\]]*\]|(\[[hms]+\])|\[[^\]]*\]', re.IGNORECASE)
_DIGITS = re.compile(r"[#0?][#0?,.]*(?:E[+-][#0?]+)?|\.[#0?]+", re.IGNORECASE)
_MAX_WHOLE = 10**21
_ELAPSED = "\1"  # marks hours that can be more than 24
_EPOCH, _EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)  # noqa: DTZ001  as in the sheet, without a zone


def shown(value: float, form: str, *, since_1904: bool = False) -> str:
    """Return a number as a number format shows it, such as `6.17%` for .0617 and `0.00%`."""
    sections = _sections(form)
    section = sections[0]
    if value < 0 and len(sections) > 1:
        value, section = -value, sections[1]
    elif value == 0 and len(sections) > 2:
        section = sections[2]
    literals: list[str] = []

    def keep(found: re.Match[str]) -> str:
        if found[4]:
            return f"h{_ELAPSED}"
        literals.append(found[1] or found[2] or found[3] or "")
        return f"\0{chr(0xE000 + len(literals) - 1)}"

    pattern = _TOKEN.sub(keep, section)
    if pattern.strip().lower() in {"", "general", "@"}:
        return "" if not section else general(value)
    if re.search(r"[ymdhs年]|AM/PM", pattern, re.IGNORECASE) and not re.search("[0#?]", pattern.replace(".0", "")):
        return _date(value, pattern, _EPOCH_1904 if since_1904 else _EPOCH) or general(value)
    text = _DIGITS.sub(lambda found: _number(value, found[0], pattern), pattern, count=1) if "/" not in pattern else ""
    text = re.sub("\0(.)", lambda found: literals[ord(found[1]) - 0xE000], text or general(value))
    return ("-" if value < 0 and "-" not in text else "") + " ".join(text.split())


def general(value: float) -> str:
    """Return a number without a format; a whole one, such as that of an account, with all digits."""
    return str(int(value)) if value % 1 == 0 and abs(value) < _MAX_WHOLE else f"{value:.15g}"


def _sections(form: str) -> list[str]:
    """Split a format at its semicolons, except those in quotes, into those for positive, negative and zero."""
    quoted = re.sub(r'"[^"]*"|\\.', lambda found: "\1" * len(found[0]), form)
    cuts = [-1, *(at for at, character in enumerate(quoted) if character == ";"), len(form)]
    return [form[start + 1 : end] for start, end in pairwise(cuts)]


def _number(value: float, digits: str, pattern: str) -> str:
    number = abs(Decimal(repr(value)))
    number *= 100 ** pattern.count("%")
    mantissa, _, exponent = digits.upper().partition("E")
    while mantissa.endswith(","):  # thousands
        mantissa, number = mantissa[:-1], number / 1000
    whole, _, decimals = mantissa.partition(".")
    places = sum(character in "0#?" for character in decimals)
    if exponent:
        return f"{number:.{places}E}"
    text = f"{number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):{',' if ',' in whole else ''}f}"
    optional = len(decimals) - len(decimals.rstrip("#?"))
    stripped = text
    for _ in range(optional):
        stripped = stripped.removesuffix("0")
    integer, dot, rest = stripped.partition(".")
    return integer.rjust(whole.count("0"), "0") + (dot + rest if rest else "")


def _date(value: float, pattern: str, epoch: datetime) -> str:
    """Return a date, a time or both, depending on the pattern; an empty string if it is out of range."""
    if not 0 <= value < 2_958_466:  # the year 10,000
        return ""
    lower = pattern.lower()
    has_time, has_date = bool(re.search("[hs]", lower)), bool(re.search("[yd年]|mmm|^[^hs]*m[^hs]*$", lower))
    moment = epoch + timedelta(seconds=round(value * 86_400))
    if has_time and not has_date:
        seconds = round(value * 86_400)
        hours, rest = divmod(seconds if _ELAPSED in pattern else seconds % 86_400, 3600)
        return f"{hours:02}:{rest // 60:02}" + (f":{rest % 60:02}" if "s" in lower or rest % 60 else "")
    if has_time and (moment.hour or moment.minute or moment.second):
        return moment.isoformat(" ", "seconds" if moment.second else "minutes")
    if "d" not in lower and "日" not in lower and "y" in lower:
        return f"{moment:%Y-%m}" if "m" in lower else f"{moment:%Y}"
    return moment.date().isoformat()
