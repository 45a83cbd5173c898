"""Normalize the answers of OpenAI-compatible endpoints, before LangChain converts them.

LangChain expects exactly what OpenAI's own endpoint sends. Other servers differ in nearly every field
(`docs/decisions/0020-normalized-answers.md`).
"""

from codecs import getincrementaldecoder
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.models.provider_fields import ProviderFields
from shared.models.reasoning import ReasoningHabit, ReasoningSplitter
from shared.models.tool_calls import ToolCallAssembler

_FINISH_REASONS = {
    "tool_call": "tool_calls",
    "function_call": "tool_calls",
    "max_tokens": "length",
    "max_length": "length",
    "model_length": "length",  # Mistral
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "model_context_window_exceeded": "length",  # Anthropic
    "safety": "content_filter",  # Gemini, and the next four
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "refusal": "content_filter",  # Anthropic
    "sensitive": "content_filter",  # Zhipu
}


# The endpoint failed in the middle: OpenRouter, Zhipu, DeepSeek, SGLang, Gemini. Its answer is not one.
_FAILURES = {"error", "network_error", "insufficient_system_resource", "abort", "malformed_function_call"}


@dataclass
class Delta:
    """The additions of a chunk to an answer.

    Attributes:
        calls: Deltas of tool calls in OpenAI's form, each with an index.
        misplaced: Number of characters of the text so far that turned out to be reasoning.
    """

    text: str = ""
    reasoning: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    misplaced: int = 0

    def __bool__(self) -> bool:
        """Return whether it adds anything."""
        return bool(self.text or self.reasoning or self.calls)

    def parts(self) -> Iterator["Delta"]:
        """Yield the reasoning, then the rest: LangChain tells content blocks of a stream by their places in a chunk."""
        if self.reasoning:
            yield Delta(reasoning=self.reasoning, misplaced=self.misplaced)
        if self.text or self.calls:
            yield Delta(text=self.text, calls=self.calls)


class _Characters:
    """Makes text in pieces well-formed: joins surrogates that two pieces share, and replaces lone ones and NUL.

    A lone surrogate cannot be sent as UTF-8, and PostgreSQL stores no NUL.
    """

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-16-le")("replace")
        self._has_half = False

    def add(self, text: str) -> str:
        if text.isprintable() and not self._has_half:
            return text  # nearly every piece
        text = self._decoder.decode(text.encode("utf-16-le", "surrogatepass"))
        self._has_half = bool(self._decoder.getstate()[0])
        return text.replace("\0", "\ufffd")


class AnswerNormalizer:
    """Normalizes one answer: its chunks, or its whole message as if it were a single chunk.

    Args:
        taken_ids: Ids of the tool calls in the request.
        tool_names: Names of the tools in the request.
        habit: The place of reasoning in earlier answers of the model; updated.
    """

    def __init__(self, taken_ids: Collection[str], tool_names: Collection[str], habit: ReasoningHabit) -> None:
        self.provider_fields = ProviderFields()
        self.refusal = ""
        self.started = False  # whether there was a message
        self.has_whole = False  # whether a chunk had a whole message
        self._pieces: list[str] = []
        self._metadata: dict[str, Any] = {}
        self._finish_reason: str | None = None
        self._calls = ToolCallAssembler(taken_ids, tool_names)
        self._splitter = ReasoningSplitter(habit)
        self._text_characters, self._reasoning_characters = _Characters(), _Characters()
        self._whole_text = ""  # of chunks that repeat the message so far

    def add(self, chunk: Mapping[str, Any]) -> Delta:
        """Add a chunk, or a whole answer.

        Raises:
            TypeError, AttributeError, LookupError: if its shape is another.
        """
        groq = chunk.get("x_groq")
        if usage := chunk.get("usage") or (isinstance(groq, dict) and groq.get("usage")):
            self._metadata["usage"] = usage
        choices = chunk.get("choices")
        if not choices:
            return Delta()
        for key in ("model", "system_fingerprint", "service_tier", "id"):
            if isinstance(value := chunk.get(key), str) and value:
                self._metadata[key] = value
        choice = choices[0]
        if (reason := choice.get("finish_reason")) and reason != "null":  # KoboldCpp
            self._finish_reason = str(reason)
        if usage := choice.get("usage"):  # Moonshot
            self._metadata["usage"] = usage
        sent = choice.get("delta")
        if not sent:
            sent = self._message_delta(choice.get("message"), sent)
        if not isinstance(sent, dict):
            return Delta()
        self.started = True
        return self._add(sent)

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._pieces)

    def _message_delta(self, message: object, delta: object) -> object:
        """Return the addition of a whole message in a stream: some servers repeat earlier text there."""
        if not isinstance(message, dict):
            return delta
        self.has_whole = True
        if isinstance(text := message.get("content"), str):
            known, self._whole_text = self._whole_text or self.text, text
            return message | {"content": text[len(known) :] if known and text.startswith(known) else text}
        return message

    def _add(self, sent: dict[str, Any]) -> Delta:
        content = sent.get("content")
        if isinstance(content, str) and len(sent) <= 2 and content and sent.keys() <= {"content", "role"}:
            reasoning, text, calls = "", content, []  # nearly every chunk of a stream
        else:
            reasoning, text = self._texts(sent, content)
            calls = self._calls.add(_calls(sent))
            reasoning = self._reasoning_characters.add(reasoning)
        if text := self._text_characters.add(text):
            more, text = self._splitter.add(text)
            if more:
                self.provider_fields.reasoning_from("text")
                reasoning += more
            self._pieces.append(text)
        return Delta(text, reasoning, calls, self._misplaced())

    def _texts(self, sent: dict[str, Any], content: object) -> tuple[str, str]:
        in_content, text = _parts(content)
        reasoning = self.provider_fields.add(sent) or in_content
        if reasoning:
            self._splitter.expect_no_unopened_tag()
        if isinstance(refusal := sent.get("refusal"), str):
            # A refusal has a field of its own, and the content is null: it would look like an empty answer.
            self.refusal += refusal
            text = text or refusal
        return reasoning, text

    def _misplaced(self) -> int:
        misplaced = self._splitter.misplaced
        if misplaced:
            self._splitter.misplaced = 0
            self._pieces = [self.text[misplaced:]]
        return misplaced

    def finish(self) -> Delta:
        """End the answer, and return the rest of it."""
        calls = self._calls.finish()
        reasoning, text = self._splitter.finish(truncated=self.finish_reason == "length")
        if reasoning:
            self.provider_fields.reasoning_from("text")
        self._pieces.append(text)
        return Delta(text, reasoning, calls, self._misplaced())

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped: `stop`, `length`, `tool_calls`, `content_filter` or another word; None if unknown."""
        reason = self._finish_reason and self._finish_reason.lower()
        reason = _FINISH_REASONS.get(reason or "", reason)
        if reason in (None, "stop", "tool_calls"):
            if self._calls.complete or (self._calls.calls and reason):
                return "tool_calls"
            return reason and "stop"
        return reason

    @property
    def failed(self) -> bool:
        """Whether the endpoint says that it failed while it answered."""
        return self.finish_reason in _FAILURES

    def metadata(self) -> dict[str, Any]:
        """Return the model's name, the usage and other fields of the answer as a whole."""
        usage = self._metadata.get("usage")
        return self._metadata | {"usage": _usage(usage) if isinstance(usage, dict) else None}

    def message(self) -> dict[str, Any]:
        """Return the whole message, after `finish`."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if calls := self._calls.calls:
            message["tool_calls"] = [call.whole() for call in calls]
        return message

    def additional_kwargs(self, origin: str) -> dict[str, Any]:
        """Return the fields of the message besides its text, reasoning and calls, after `finish`."""
        kept = self.provider_fields.to_dict(origin, self._calls.calls)
        return ({"provider_fields": kept} if kept else {}) | ({"refusal": self.refusal} if self.refusal else {})


def _calls(sent: dict[str, Any]) -> object:
    calls = sent.get("tool_calls")
    if not calls and isinstance(call := sent.get("function_call"), dict):  # OpenAI's older form, still in use
        return [{"index": 0, "function": call}]
    return calls


def _parts(content: object) -> tuple[str, str]:
    """Return the reasoning and the text of content that may be a list of parts (Mistral)."""
    if isinstance(content, str):
        return "", content
    reasoning = text = ""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            text += part
        elif isinstance(part, dict):
            if part.get("type") in ("thinking", "reasoning"):
                names = ("thinking", "reasoning", "summary", "text")  # Mistral, Anthropic's proxies, Databricks
                reasoning += "".join(_strings(next(filter(None, map(part.get, names)), None)))
            else:
                text += "".join(_strings(part.get("text")))
    return reasoning, text


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part.get("text") if isinstance(part, dict) else part)


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    """Return usage without values that are no numbers, with OpenAI's names."""
    numbers = _numbers(usage)
    for name, other in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
        if other in numbers:
            numbers.setdefault(name, numbers[other])
    return numbers | {key: _numbers(value) for key, value in usage.items() if isinstance(value, dict)}


def _numbers(values: dict[str, Any]) -> dict[str, int]:
    return {key: int(value) for key, value in values.items() if type(value) in (int, float) and 0 <= value < 2**63}
