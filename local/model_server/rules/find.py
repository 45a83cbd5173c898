"""Recognizing quotations, addresses, dates, numbers and arithmetic expressions in a message."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_LONGEST = 8000  # characters of a message that are searched

_FENCE = re.compile(r"```[\w+-]{0,20}[ \t]?\n?(.{1,6000}?)```", re.DOTALL)
_QUOTED = re.compile(
    r"\"([^\"\n]{1,2000})\"|“([^”\n]{1,2000})”|「([^」\n]{1,2000})」|『([^』\n]{1,2000})』"
    r"|《([^》\n]{1,200})》|`([^`\n]{1,2000})`"
    r"|(?<![\w'])'([^'\n]{1,2000})'(?!\w)"
)
_PATTERNS = {
    "url": re.compile(r"(?:https?://|ftp://|www\.)[^\s<>\"'，。；）)】」]{2,2000}", re.IGNORECASE),
    "email": re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}", re.ASCII),
    "date": re.compile(
        r"(?<!\d)\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?(?!\d)|(?<!\d)\d{1,2}月\d{1,2}[日号]"
        r"|\b\d{1,2}(?:st|nd|rd|th)? (?:of )?(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov"
        r"|dec)[a-z]{0,6}\b(?:,? \d{4})?"
        r"|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]{0,6} \d{1,2}(?:st|nd|rd|th)?\b(?:,? \d{4})?"
        r"|(?<!\d)\d{1,2}/\d{1,2}/\d{2,4}(?!\d)"
        r"|\b(?:today|tonight|tomorrow|yesterday|day after tomorrow|(?:next |this |on )?(?:mon|tues|wednes"
        r"|thurs|fri|satur|sun)day"
        r"|next week|next month|this weekend)\b|今天|明天|后天|昨天|大后天|下?周[一二三四五六日天末]|下个?月|下周",
        re.IGNORECASE,
    ),
    "time": re.compile(
        r"(?<![\d:])\d{1,2}:\d{2}(?::\d{2})?(?: ?[ap]\.?m\b)?|\b\d{1,2} ?[ap]\.?m\b|(?:上午|下午|晚上|早上"
        r"|中午)?\d{1,2}点(?:半|\d{1,2}分)?",
        re.IGNORECASE,
    ),
    "id": re.compile(r"(?<![\w-])(?=[\w-]{0,20}\d)[A-Za-z0-9][\w-]{3,60}(?![\w-])", re.ASCII),
    "path": re.compile(
        r"(?<![\w/.:])(?:~?/|\./|\.\./"
        r"|[A-Za-z]:\\)?[\w.-]{1,100}(?:[/\\][\w.-]{1,100}){0,20}\.[A-Za-z]\w{0,5}\b"
        r"|(?<![\w/.:])~?(?:/[\w.-]{1,100}){1,20}"
    ),
}
_NUMBER = re.compile(
    r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3}){1,6}|\d{1,30})(?:\.\d{1,30})?(?:e[-+]?\d{1,3})?(?![\d])%?", re.IGNORECASE
)
_NUMBER_AFTER_HAN = re.compile(r"(?<=[\u3400-\u9fff])\d{1,30}(?:\.\d{1,30})?")
_SUM = re.compile(r"[\d.(√-][\d\s.,()+\-*/^×÷−%!]{0,500}[\d)%!]")
_OPERATORS = (
    (r"(?<=[\d)%])\s{0,3}(?:divided by|over|除以)\s{0,3}(?=[\d(-])", "/"),
    (r"(?<=[\d)%])\s{0,3}(?:multiplied by|times|乘以|乘)\s{0,3}(?=[\d(-])", "*"),
    (r"(?<=[\d)%])\s{0,3}(?:x|X)\s{0,3}(?=\d)", "*"),
    (r"(?<=[\d)%])\s{0,3}(?:plus|added to|加上|加)\s{0,3}(?=[\d(-])", "+"),
    (r"(?<=[\d)%])\s{0,3}(?:minus|less|减去|减)\s{0,3}(?=[\d(-])", "-"),
    (r"(?<=[\d)])\s{0,3}(?:to the power of|raised to|的?次方)\s{0,3}(?=[\d(-])", "**"),
    (r"(?<=\d)\s?(?:percent of|% of)\s{0,3}(?=[\d(])", "/100*"),
)
_SPOKEN = [(re.compile(pattern, re.IGNORECASE), sign) for pattern, sign in _OPERATORS]
_NUMBER_WORDS = {
    word: number
    for number, words in enumerate(
        (
            "zero 零",
            "one 一",
            "two 二 两",
            "three 三",
            "four 四",
            "five 五",
            "six 六",
            "seven 七",
            "eight 八",
            "nine 九",
            "ten 十",
        )
    )
    for word in words.split()
}
_WORD_NUMBER = re.compile(
    r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten)\b"
    r"|[一二两三四五六七八九十](?=[个位人张晚天条次名份件只本杯])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Span:
    """A part of a message, with its position."""

    start: int
    end: int
    text: str


def truncate(message: str) -> str:
    """Return the part of a message that is searched for arguments."""
    return message[:_LONGEST]


def fenced(message: str) -> list[Span]:
    """Return the code blocks between triple backquotes."""
    return [Span(match.start(), match.end(), match.group(1).strip("\n")) for match in _FENCE.finditer(message)]


def quoted(message: str) -> list[Span]:
    """Return the quotations, without their quotation marks."""
    return [
        Span(match.start(), match.end(), next(group for group in match.groups() if group))
        for match in _QUOTED.finditer(message)
    ]


def find_all(kind: str, message: str) -> list[Span]:
    """Return every url, email, date, time, id or path in a message; an empty list for another kind."""
    pattern = _PATTERNS.get(kind)
    if pattern is None:
        return []
    found = [Span(match.start(), match.end(), match.group().rstrip(".,;:!?")) for match in pattern.finditer(message)]
    return [span for span in found if span.text]


def numbers(message: str) -> list[tuple[Span, float]]:
    """Return all numbers outside dates, times and addresses, in order: digits, or words up to ten."""
    taken = [span for kind in ("url", "email", "time") for span in find_all(kind, message)]
    taken += [span for span in find_all("date", message) if any(character.isdigit() for character in span.text)]
    covered = bytearray(len(message) + 1)
    for span in taken:
        covered[span.start : span.end] = b"\1" * (span.end - span.start)
    found = []
    for match in sorted(_number_matches(message), key=lambda match: match.start()):
        if covered[match.start()]:
            continue
        covered[match.start() : match.end()] = b"\1" * (match.end() - match.start())
        text = match.group()
        word = _NUMBER_WORDS.get(text.lower())
        value = float(word) if word is not None else float(text.replace(",", "").replace("−", "-").rstrip("%"))
        found.append((Span(match.start(), match.end(), text), value))
    return found


def _number_matches(message: str) -> Iterator[re.Match[str]]:
    for pattern in (_NUMBER, _NUMBER_AFTER_HAN, _WORD_NUMBER):
        yield from pattern.finditer(message)


def arithmetic(message: str) -> str | None:
    """Return the longest arithmetic expression, with symbols (`2 times (3+4)` is `2*(3+4)`); None without operator."""
    for pattern, sign in _SPOKEN:
        message = pattern.sub(sign, message)
    for span in find_all("date", message) + find_all("url", message):
        if any(character.isdigit() for character in span.text):
            message = message[: span.start] + " " * (span.end - span.start) + message[span.end :]
    best = ""
    for match in _SUM.finditer(message):
        text = _balanced(match.group().strip(" ,.\n\t"))
        if len(text) > len(best) and re.search(r"[\d)%!]\s*[+\-*/^×÷−]{1,2}\s*[\d(-]", text):
            best = text
    return best.replace("×", "*").replace("÷", "/").replace("−", "-") or None


def _balanced(text: str) -> str:
    while text.count(")") > text.count("("):
        at = text.rfind(")")
        text = text[:at] + text[at + 1 :]
    return text if text.count("(") == text.count(")") else text.replace("(", "").replace(")", "")


def as_iso_date(text: str) -> str:
    """Return a date as YYYY-MM-DD if it is unambiguous (1/2/2027 is not), otherwise unchanged."""
    today = datetime.now(UTC).date()
    days = {"today": 0, "tonight": 0, "今天": 0, "tomorrow": 1, "明天": 1, "后天": 2, "yesterday": -1, "昨天": -1}
    if (offset := days.get(text.lower())) is not None:
        return (today + timedelta(days=offset)).isoformat()
    parts = [int(part) for part in re.findall(r"\d{1,4}", text)]
    if len(parts) == 2 and "月" in text:
        parts.insert(0, today.year)
    if len(parts) == 3 and parts[0] > 31:
        try:
            return datetime(parts[0], parts[1], parts[2], tzinfo=UTC).date().isoformat()
        except ValueError:
            return text
    for layout in ("%B %d %Y", "%d %B %Y", "%b %d %Y", "%d %b %Y"):
        plain = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|\bof\b|,", "", text)
        for candidate in (plain, f"{plain} {today.year}"):
            try:
                return datetime.strptime(" ".join(candidate.split()), layout).replace(tzinfo=UTC).date().isoformat()
            except ValueError:
                continue
    return text
