"""Collect the codes, the names of parameters and the words of an error, in the forms of all servers."""

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_BODY = 65_536  # characters of an error that are read
_MAX_WORDS = 8_192
_MAX_DEPTH = 8
_CODES = {"code", "type", "status", "error_code", "error_type", "status_code", "reason", "@type"}
_PARAMETERS = {"param", "field", "parameter"}
# Their values repeat the request, or do not concern the reason.
_IGNORED = {"input", "ctx", "url", "failed_generation", "flagged_input", "request_id", "id", "help"}


@dataclass
class ErrorFacts:
    """Facts that an error states.

    Attributes:
        raw_codes: Codes, types and statuses, as they were sent.
        parameters: Names of parameters, some with a path: `messages.0.name`.
        texts: Messages.
    """

    raw_codes: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def codes(self) -> frozenset[str]:
        """The codes in lower case."""
        return frozenset(code.lower() for code in self.raw_codes)

    @property
    def words(self) -> str:
        """The messages in lower case."""
        return "\n".join(self.texts)[:_MAX_WORDS].lower()

    def inner_status(self) -> int | None:
        """Return the HTTP status among the codes: of an error in a stream, which began with 200."""
        return next((int(code) for code in self.raw_codes if re.fullmatch(r"[45]\d\d", code)), None)

    def code(self) -> str | None:
        """Return a code for the log; not one that could be a key."""
        return next((code for code in self.raw_codes if re.fullmatch(r"[A-Za-z_.]{3,60}|\d{1,6}", code)), None)


def error_facts(body: object) -> ErrorFacts:
    """Read the JSON or the text of an error."""
    facts = ErrorFacts()
    _collect(body, "", facts, 0)
    return facts


def _collect(value: object, key: str, facts: ErrorFacts, depth: int) -> None:
    if depth > _MAX_DEPTH or key in _IGNORED:
        return
    if isinstance(value, dict):
        if isinstance(path := value.get("loc"), list):  # FastAPI's and Pydantic's errors
            facts.parameters.append(".".join(str(part) for part in path if part != "body"))
        for name, item in value.items():
            if name != "loc":
                _collect(item, str(name), facts, depth + 1)
    elif isinstance(value, list):
        for item in value[:20]:
            _collect(item, key, facts, depth + 1)
    elif key in _CODES and isinstance(value, str | int):
        facts.raw_codes.append(str(value))
    elif isinstance(value, str):
        _collect_text(value, key, facts, depth)


def _collect_text(text: str, key: str, facts: ErrorFacts, depth: int) -> None:
    if key in _PARAMETERS:
        facts.parameters.append(text)
        return
    text = f"retry after {text}" if key == "retryDelay" else text.strip()[:MAX_BODY]  # Gemini's `RetryInfo`
    if text.startswith(("{", "[")):  # JSON in a string: OpenRouter's `metadata.raw`, Mistral
        try:
            _collect(json.loads(text), key, facts, depth + 1)
        except (ValueError, RecursionError):
            pass
        else:
            return
    if re.match(r"<(!doctype|html|head|body|\?xml)", text, re.IGNORECASE):
        return  # a proxy's page: only its status says something
    # Pydantic's errors as Python writes them (vLLM): [{'type': 'extra_forbidden', 'loc': ('body', 'name'), …
    for path in re.findall(r"'loc': \(([^)]{0,300})\)", text):
        names = re.findall(r"'(\w+)'|(\d+)", path)
        facts.parameters.append(".".join("".join(pair) for pair in names if pair[0] != "body"))
    facts.texts.append(re.sub(r"'input': .*", "", text) if "'loc': (" in text else text)


# --- the refused parameter ------------------------------------------------------------------------------------------

_NAMED = re.compile(r"(?:parameters?|arguments?|fields?|supplied|unknown name)[ .:]+['\"`]?([a-z]+(?:_[a-z]+)*)")
_NO_NAMES = {"are", "for", "has", "in", "is", "must", "not", "of", "or", "the", "to", "value", "values", "was", "with"}
_NO_NAMES |= {"validation_error"}  # Cerebras
_TOO_COMMON = {"messages", "model", "input"}


def named_parameter(facts: ErrorFacts, sent: Collection[str]) -> str | None:
    """Return the name of the refused parameter.

    It is one that was sent, or one that the endpoint wants (DashScope: `enable_thinking`); never a word that may come
    from the request's content.
    """
    roots = [re.split(r"[.\[]", path)[0] for path in facts.parameters]
    if root := next((root for root in roots if root in sent), None):
        return root
    words = facts.words
    found = [(place, name) for name in sent if (place := _mention(name, words)) is not None]
    if found:
        return min(found)[1]
    named = [*roots, *_NAMED.findall(words)]
    return next((name for name in named if re.fullmatch(r"[a-z_]{2,40}", name) and name not in _NO_NAMES), None)


def _mention(name: str, words: str) -> int | None:
    """Return where a parameter is named. A single word has to stand as a name: `user` is also a role."""
    if name in _TOO_COMMON:
        return None
    pattern = re.escape(name)
    if "_" in name or name in ("dimensions", "temperature"):
        pattern = rf"\b{pattern.replace('_', '[_ -]')}\b"
    else:
        before = r"(parameters?|arguments?|fields?|supplied|name|invalid|unsupported|output|not support)[ .:]+"
        pattern = rf"['\"`]{pattern}['\"`]|{before}{pattern}\b|\b{pattern} (is|are|does|must|cannot|should|not)\b"
    match = re.search(pattern, words)
    return match.start() if match else None


def stated_limit(words: str) -> int | None:
    """Return the batch size that the endpoint states; None if it states none."""
    match = re.search(
        r"(?:larger than|at most|up to|max(?:imum)?(?: allowed)?(?: batch size)?(?: is| of)?|limit(?: of| is)?)"
        r"[ :]*(\d{1,5})\b",
        words,
    )
    return int(match[1]) if match and int(match[1]) else None


# --- when to ask again ----------------------------------------------------------------------------------------------

_MAX_WAIT = 3600
_UNITS = {"ms": 0.001, "m": 60, "min": 60, "h": 3600}
_WAIT = re.compile(
    r"(?:try again|retry|wait)(?: \w+)?(?: in| after| for)? ?(\d{1,9}(?:\.\d{1,9})?) ?(ms|min|m|sec|s|h)?"
)


def retry_seconds(headers: Mapping[str, str], words: str) -> int | None:
    """Return the seconds until a retry, at most one hour: of the headers, or of words like "try again in 4.77s"."""
    if (seconds := header_seconds(headers)) is not None:
        return seconds
    if match := _WAIT.search(words):
        return min(math.ceil(float(match[1]) * _UNITS.get(match[2], 1)), _MAX_WAIT)
    return None


def header_seconds(headers: Mapping[str, str]) -> int | None:
    """Return the `Retry-After` of a response in seconds, at most one hour; None if it has none that is valid."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1)):
        if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", value := headers.get(name, "").strip()):
            return min(math.ceil(float(value) * unit), _MAX_WAIT)
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, TypeError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max(math.ceil((date - datetime.now(UTC)).total_seconds()), 0), _MAX_WAIT)
