"""Filling a tool's arguments from a message."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from local.model_server.rules import find
from local.model_server.rules.schema import Parameter
from local.model_server.rules.vocabulary import (
    BEFORE_PLACE,
    CHINESE_PLACE,
    CHINESE_QUESTION,
    COMMAND,
    COURTESY,
    CURRENCY,
    INTRODUCTIONS,
    LEFT_OVER,
    LOWER_PLACE,
    NAME,
    NEGATED,
    NOT_A_PLACE,
    SEARCHING,
    SIGNS,
    SYMBOL,
    TITLE,
    classify,
    split_name,
)


@dataclass(frozen=True)
class Filled:
    """Arguments for a call, and the names of required parameters without a value."""

    arguments: dict[str, Any]
    missing: Sequence[str]
    recognized: int  # number of arguments that were recognized, as opposed to taken from the remaining text


def fill(parameters: Sequence[Parameter], message: str, *, best_effort: bool = False) -> Filled:
    """Fill a tool's parameters from a message.

    Recognized are `name: value`, quotations, code blocks, URLs, e-mail addresses, dates, times, paths, arithmetic
    expressions, numbers (the nearest to a parameter's name first, then in order), enum values, places after "in",
    "from", "to" and their Chinese equivalents, and for a parameter like `query` the message itself. Optional parameters
    get recognized values only. Not supported: references to earlier messages ("it", "there"), expressions in words with
    more than one operator, and units.

    Args:
        parameters: Parameters of the tool.
        message: The user's message; only the first 8,000 characters are used.
        best_effort: Give every required parameter some value, for a required call.
    """
    return _Filler(find.truncate(message), parameters, best_effort=best_effort).run()


class _Filler:
    def __init__(self, message: str, parameters: Sequence[Parameter], *, best_effort: bool) -> None:
        self._message = message
        self._parameters = parameters
        self._best_effort = best_effort
        self._quoted = find.quoted(message)
        self._numbers = [(found, value) for found, value in find.numbers(message) if math.isfinite(value)]
        self._used: set[int] = set()  # start positions of the parts used for an argument

    def run(self) -> Filled:
        arguments: dict[str, Any] = {}
        missing, evidence = [], 0
        numbers = self._nearest_numbers()
        for parameter in self._parameters:
            value = numbers.get(parameter.name)
            if value is None:
                value = self._recognised(parameter)
            if value is not None:
                evidence += 1
            elif parameter.required:
                value = self._from_remaining_text(parameter)
            if value is not None:
                arguments[parameter.name] = value
            elif parameter.required and parameter.has_default:
                arguments[parameter.name] = parameter.default
            elif parameter.required:
                missing.append(parameter.name)
                if self._best_effort:
                    arguments[parameter.name] = self._placeholder(parameter)
        return Filled({p.name: arguments[p.name] for p in self._parameters if p.name in arguments}, missing, evidence)

    def _recognised(self, parameter: Parameter) -> Any:  # noqa: ANN401 - any JSON value
        if parameter.choices:
            return self._choice(parameter)
        match parameter.kind:
            case "boolean":
                return self._boolean(parameter)
            case "array":
                return self._array(parameter)
            case "object":
                return self._object(parameter)
            case "string":
                return self._string(parameter)
        return None

    def _choice(self, parameter: Parameter) -> Any:  # noqa: ANN401  JSON
        lowered = self._message.lower()
        for choice in parameter.choices:
            if isinstance(choice, str) and choice and _mentions(lowered, choice):
                return choice
        sum_ = find.arithmetic(self._message)
        for choice in parameter.choices:
            if isinstance(choice, str):
                for sign, names in SIGNS.items():
                    said = choice == sign or choice.lower() in names
                    if said and ((sum_ and sign in sum_) or any(_mentions(lowered, name) for name in names)):
                        return choice
        for _, value in self._numbers:
            if any(choice == value and not isinstance(choice, bool) for choice in parameter.choices):
                return next(choice for choice in parameter.choices if choice == value)
        return None

    def _boolean(self, parameter: Parameter) -> bool | None:
        for word in split_name(parameter.name):
            if len(word) > 2 and (match := re.search(rf"(?<![a-z]){re.escape(word)}", self._message, re.IGNORECASE)):
                before = self._message[max(0, match.start() - 20) : match.start()]
                after = self._message[match.end() : match.end() + 12]
                return not (NEGATED.search(before) or re.match(r"\W{0,3}(?:false|no|off|否)\b", after, re.IGNORECASE))
        return None

    def _array(self, parameter: Parameter) -> list[Any] | None:
        items = parameter.items
        if items is None:
            return None
        found: list[Any] = []
        if items.choices:
            lowered = self._message.lower()
            found = [choice for choice in items.choices if isinstance(choice, str) and _mentions(lowered, choice)]
        elif items.kind in {"number", "integer"}:
            values = [_number(value, items.kind) for one, value in self._numbers if one.start not in self._used]
            found = [value for value in values if value is not None]
        elif items.kind == "string":
            found = [span.text for span in find.find_all(classify(parameter), self._message)]
            if not found and (named := self._named(parameter)):
                found = _split_list(named)
            found = found or [span.text for span in self._quoted]
        return found or None

    def _object(self, parameter: Parameter) -> dict[str, Any] | None:
        if not parameter.properties:
            return None
        filled = fill(parameter.properties, self._message, best_effort=self._best_effort)
        return filled.arguments if filled.arguments and not (filled.missing and not self._best_effort) else None

    def _string(self, parameter: Parameter) -> str | None:
        kind = classify(parameter)
        if kind == "expression":
            return find.arithmetic(self._message)
        if kind == "code" and (blocks := find.fenced(self._message)):
            return blocks[0].text
        value = self._named(parameter) or self._of_kind(kind, parameter)
        if value or kind in {"url", "email", "date", "time", "currency", "id"}:
            return value
        for found in self._quoted:
            if found.start not in self._used:
                self._used.add(found.start)
                return found.text
        return self._introduced(parameter)

    def _of_kind(self, kind: str, parameter: Parameter) -> str | None:
        for found in find.find_all(kind, self._message):
            if found.start not in self._used:
                self._used.add(found.start)
                wants_iso = parameter.format == "date" or "yyyy" in parameter.description.lower()
                return find.as_iso_date(found.text) if kind == "date" and wants_iso else found.text
        if kind == "currency":
            return self._currency(parameter)
        if kind == "symbol" and (symbol := SYMBOL.search(self._message)):
            return symbol.group()
        return self._place(parameter) if kind == "place" else None

    def _currency(self, parameter: Parameter) -> str | None:
        """Return the currency after a number as the source of a conversion, and another one as its target."""
        currencies = list(CURRENCY.finditer(self._message))
        amounts = [
            match for match in currencies if any(0 <= match.start() - found.end <= 1 for found, _ in self._numbers)
        ]
        given = amounts[:1] or currencies[:1]
        if {"to", "target", "into"} & set(split_name(parameter.name)):
            given = [match for match in currencies if match not in given][:1]
        return given[0].group() if given else None

    def _named(self, parameter: Parameter) -> str | None:
        """Return the value after the parameter's name and a colon, an equals sign or "is"."""
        name = r"[ _-]?".join(map(re.escape, split_name(parameter.name)[:6]))
        if not name:
            return None
        sign = r"\s{0,2}(?:[:：=]|是|为)\s{0,2}" if len(name) < 3 else r"\s{0,2}(?:[:：=]|\bis\b|是|为)\s{0,2}"
        value = r"(?:\"([^\"\n]{1,2000})\"|“([^”\n]{1,2000})”|'([^'\n]{1,2000})'|([^,，;；。\n?？]{1,2000}))"
        pattern = rf"(?<![a-z]){name}{sign}{value}"
        match = re.search(pattern, self._message, re.IGNORECASE)
        if match is None:
            return None
        return next(group for group in match.groups() if group).strip().rstrip(".!") or None

    def _introduced(self, parameter: Parameter) -> str | None:
        words = " ".join(split_name(parameter.name))
        introduction = INTRODUCTIONS.get(words) or next(
            (INTRODUCTIONS[word] for word in reversed(words.split()) if word in INTRODUCTIONS), None
        )
        if introduction is None:
            return None
        match = re.search(
            rf"(?:(?<![a-z]){introduction})(?![a-z])[:：,]?\s{{0,3}}([^\n]{{1,2000}})", self._message, re.IGNORECASE
        )
        if match is None:
            return None
        text = match.group(1)
        if words not in {"body", "message", "content", "text"}:
            text = re.split(r"\b(?:saying|that says|with|and|to)\b|[,，。;；?!？！]|内容|说", text, maxsplit=1)[0]
        return text.strip(" .\"'“”") or None

    def _place(self, parameter: Parameter) -> str | None:
        words = set(split_name(parameter.name)) | ({"to"} if "destination" in parameter.name.lower() else set())
        way = "from" if words & {"from", "origin", "departure", "source", "start"} else "any"
        way = "to" if words & {"to", "destination", "arrival", "end"} else way
        match = re.search(CHINESE_PLACE[way], self._message)
        if match and not CHINESE_QUESTION.search(match.group(1)):
            return match.group(1)
        for match in re.finditer(rf"\b(?i:{BEFORE_PLACE[way]})[ \t]{{1,3}}(?:the[ \t])?{NAME}", self._message):
            if match.group(1).lower() not in NOT_A_PLACE:
                return match.group(1).rstrip(".")
        if match := re.search(rf"\b{BEFORE_PLACE[way]}[ \t]{{1,3}}{LOWER_PLACE}", self._message, re.IGNORECASE):
            return match.group(1).strip()
        if way == "any":
            for match in re.finditer(NAME, self._message):
                if match.group(1).split()[0].lower() not in NOT_A_PLACE and (match.start() or " " not in self._message):
                    return match.group(1).removesuffix("'s").rstrip(".")
        return None

    def _from_remaining_text(self, parameter: Parameter) -> str | list[str] | None:
        """Return the message itself, for a required parameter that takes free text."""
        if parameter.choices or not self._message.strip():
            return None
        if parameter.kind == "array":
            named = re.split(r"[:：]", self._message, maxsplit=1)
            listed = (
                _split_list(named[1]) if len(named) > 1 and parameter.items and parameter.items.kind == "string" else []
            )
            return listed or None
        if TITLE.search(" ".join(split_name(parameter.name))) and parameter.kind == "string":
            return self._title()
        others = [
            other for other in self._parameters if other.required and other.kind == "string" and not other.choices
        ]
        kind = classify(parameter)
        if parameter.kind != "string" or (kind != "text" and (len(others) > 1 or kind)):
            return None
        text = COURTESY.sub("", self._message.strip())
        text = COMMAND.sub("", text) if COMMAND.match(text) else self._message.strip()
        if not SEARCHING.search(f"{parameter.name} {parameter.description}"):
            # "Translate this: …": keep the text after the colon, if there is any.
            text = re.split(r"^[^:：\n]{1,80}[:：](?!//)\s{0,3}", text, maxsplit=1)[-1] or text
        return text.strip() or self._message.strip()

    def _title(self) -> str | None:
        """Return the message without its command, dates and times."""
        text = self._message
        for found in sorted(find.find_all("date", text) + find.find_all("time", text), key=lambda one: -one.start):
            text = text[: found.start] + text[found.end :]
        text = COMMAND.sub("", COURTESY.sub("", text.strip()))
        return " ".join(LEFT_OVER.sub("", " ".join(text.split())).split()).strip(" ,.，。!?") or None

    def _nearest_numbers(self) -> dict[str, Any]:
        """Assign each number to the parameter with the nearest name, then the rest in order to required parameters."""
        wanting = [p for p in self._parameters if p.kind in {"number", "integer"} and not p.choices]
        pairs = []
        for parameter in wanting:
            for gap, index in self._gaps(parameter):
                pairs.append((gap, index, parameter))
        given: dict[str, Any] = {}
        taken: set[int] = set()
        for _, index, parameter in sorted(pairs, key=lambda pair: pair[:2]):
            if parameter.name not in given and index not in taken:
                value = _number(self._numbers[index][1], parameter.kind)
                if value is not None:
                    given[parameter.name] = value
                    taken.add(index)
        remaining = [(index, value) for index, (_, value) in enumerate(self._numbers) if index not in taken]
        for parameter in wanting:
            if parameter.required and parameter.name not in given and remaining:
                index, value = remaining.pop(0)
                taken.add(index)
                number = _number(value, parameter.kind)
                if number is not None:
                    given[parameter.name] = number
        self._used |= {self._numbers[index][0].start for index in taken}
        return given

    def _gaps(self, parameter: Parameter) -> Iterator[tuple[int, int]]:
        """Yield the distances in characters between words of a parameter and nearby numbers, with their indices."""
        named = [word for word in split_name(parameter.name) if len(word) > 1] or split_name(parameter.name)
        described = re.findall(r"[a-z]{4,20}|[\u4e00-\u9fff]{2}", parameter.description.lower())[:12]
        for rank, word in enumerate(dict.fromkeys([*named, *described])):
            stem = word[:-1] if word.endswith("s") and len(word) > 3 else word
            farthest = 16 if rank < 3 else 8
            for match in islice(re.finditer(rf"(?<![a-z]){re.escape(stem)}", self._message, re.IGNORECASE), 20):
                for index, (found, _) in enumerate(self._numbers[:60]):
                    after, before = found.start - match.end(), match.start() - found.end
                    gap = after if after >= 0 else before
                    if gap <= farthest:
                        yield gap + rank, index

    def _placeholder(self, parameter: Parameter) -> Any:  # noqa: ANN401  JSON
        if parameter.choices:
            return parameter.choices[0]
        match parameter.kind:
            case "boolean":
                return False
            case "number" | "integer":
                return 0
            case "array":
                return []
            case "object":
                return fill(parameter.properties, self._message, best_effort=True).arguments
        return self._message.strip()


def _mentions(lowered: str, value: str) -> bool:
    said = value.lower()
    for form in {said, said.replace("_", " "), said.replace("-", " ")}:
        at = lowered.find(form)
        while form and at >= 0:
            before, after = lowered[at - 1 : at], lowered[at + len(form) : at + len(form) + 1]
            if not form.isascii() or not (
                (before.isascii() and before.isalnum()) or (after.isascii() and after.isalnum())
            ):
                return True
            at = lowered.find(form, at + 1)
    return False


def _number(value: float, kind: str) -> int | float | None:
    if value.is_integer() and abs(value) < 1e18:
        return int(value)
    return None if kind == "integer" else value


def _split_list(text: str) -> list[str]:
    parts = re.split(r"\s{0,3}(?:[,，、;；]|\band\b|和|以及)\s{0,3}", text)
    return [part.strip(" .\"'“”。") for part in parts if part.strip(" .\"'“”。")]
