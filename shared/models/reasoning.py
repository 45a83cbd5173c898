"""Separate a model's reasoning from its answer, when both arrive in one text.

Reasoning stands at the beginning of an answer, in tags that the model's chat template defines. Many templates put the
opening tag into the prompt, so that only the closing one is in the output (DeepSeek-R1, QwQ, Qwen3-Thinking). A tag
elsewhere is part of the answer: an answer may be about HTML.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

# Opening and closing tags, lower case. `<reasoning>` is missing: no model uses it by itself, but prompts ask for it.
_TAGS = {
    "<think>": "</think>",  # DeepSeek, Qwen, GLM, MiniMax, Nemotron, SmolLM …
    "<thinking>": "</thinking>",  # Amazon Nova
    "<thought>": "</thought>",  # Gemini's OpenAI endpoint with `include_thoughts`
    "<seed:think>": "</seed:think>",  # Seed-OSS
    "[think]": "[/think]",  # Magistral
    "◁think▷": "◁/think▷",  # Kimi
    "<|begin_of_thought|>": "<|end_of_thought|>",  # OpenThinker, Sky-T1
    "<|channel>thought": "<channel|>",  # Gemma 4
    "<|channel|>analysis<|message|>": "<|end|><|start|>assistant<|channel|>final<|message|>",  # gpt-oss
    "<mm:think>": "</mm:think>",  # MiniMax
}
_UNOPENED = "</think>"  # the only closing tag that models send without the opening one
_CLOSING = {tag: re.compile(re.escape(tag), re.IGNORECASE) for tag in (*_TAGS.values(), _UNOPENED)}
_LEADING_TAGS = (*_TAGS, _UNOPENED)
_LONGEST_TAG = max(map(len, _LEADING_TAGS))
_QUOTES = frozenset("`\"'“”‘’「」『』")
# Models whose template is likely to open the tag in the prompt.
_REASONING_NAME = re.compile(r"(?<![a-z0-9])(?:r1|qwq)(?![a-z0-9])|think|(?<!non-)reason", re.IGNORECASE)


@dataclass
class ReasoningHabit:
    """The form of a model's reasoning, as far as its answers have shown it.

    Attributes:
        unopened: Whether it sends `</think>` without `<think>`; None if unknown.
        field: Whether it sends the field `reasoning_content`.
    """

    model: str
    unopened: bool | None = None
    field: bool = False

    @property
    def suspected(self) -> bool:
        """Whether an answer without an opening tag may begin with reasoning, judged by the model's name."""
        return self.unopened is None and _REASONING_NAME.search(self.model) is not None


class _State(Enum):
    BEGINNING = auto()  # of the output, or of the answer after the reasoning
    REASONING = auto()
    UNDECIDED = auto()  # reasoning if `</think>` follows, else the answer
    ANSWER = auto()


class ReasoningSplitter:
    """Splits the text of one answer, in pieces of any size, into reasoning and answer.

    Attributes:
        misplaced: Number of characters that were returned as the answer before `</think>` showed that they were
            reasoning. Only the first such answer of a model in a process has any; they are returned again as reasoning.
    """

    def __init__(self, habit: ReasoningHabit) -> None:
        self.misplaced = 0
        self._habit = habit
        self._expect_tags = True  # False if the reasoning arrives in a field
        self._state = _State.BEGINNING
        self._held = ""
        self._searched = 0  # characters of it that do not begin a closing tag
        self._close = _UNOPENED
        self._opened = False  # whether the reasoning began with a tag
        self._reasoning: list[str] = []
        self._answer: list[str] = []  # as long as `</think>` can show that it is reasoning
        self._watching = True

    def expect_no_unopened_tag(self) -> None:
        """Take text without a tag for the answer: the reasoning arrives in a field of its own."""
        self._expect_tags = self._watching = False
        if self._state is _State.UNDECIDED:
            self._state = _State.ANSWER

    def add(self, text: str) -> tuple[str, str]:
        """Add a piece of the text.

        Returns:
            The reasoning and the part of the answer that are certain now.
        """
        if self._state is _State.ANSWER and not self._held and ("<" not in text or not self._watching):
            if self._watching:
                self._answer.append(text)
            return "", text
        text, self._held = self._held + text, ""
        match self._state:
            case _State.BEGINNING:
                return self._begin(text)
            case _State.REASONING:
                return self._reason(text)
            case _State.UNDECIDED:
                return self._decide(text)
            case _State.ANSWER:
                return self._watch(text)

    def finish(self, *, truncated: bool) -> tuple[str, str]:
        """Return the rest of the reasoning and of the answer.

        Args:
            truncated: Whether the model stopped at a limit of tokens.
        """
        held, self._held = self._held, ""
        match self._state:
            case _State.BEGINNING:
                return "", "" if self._reasoning else held
            case _State.REASONING if not self._opened and not truncated:
                # The model did not reason this time.
                self._habit.unopened = None
                return "", "".join(self._reasoning) + held
            case _State.REASONING:
                return self._reasoned(held.rstrip()), ""
            case _State.UNDECIDED if truncated:
                return held.strip(), ""
            case _State.UNDECIDED:
                self._habit.unopened = False
        return "", held

    def _begin(self, text: str) -> tuple[str, str]:
        stripped = text.lstrip()
        beginning = stripped[:_LONGEST_TAG].lower()
        if any(tag.startswith(beginning) and tag != beginning for tag in _LEADING_TAGS):  # or nothing but white space
            self._held = text
            return "", ""
        tag = next((tag for tag in _LEADING_TAGS if beginning.startswith(tag)), None)
        if tag in _TAGS:
            self._state, self._close, self._opened, self._watching = _State.REASONING, _TAGS[tag], True, False
            return self._reason(stripped[len(tag) :])
        if tag:  # the template opens the tag, and the model does not reason this time
            self._reasoning.append("")
            return self._begin(stripped[len(tag) :])
        return self._begin_answer(text)

    def _begin_answer(self, text: str) -> tuple[str, str]:
        if self._reasoning:
            self._state, self._watching = _State.ANSWER, False
            return "", text.lstrip()
        if self._expect_tags and self._habit.unopened:
            self._state = _State.REASONING
            return self._reason(text.lstrip())
        if self._expect_tags and self._habit.suspected:
            self._state = _State.UNDECIDED
            return self._decide(text)
        self._state = _State.ANSWER
        return self._watch(text)

    def _reason(self, text: str) -> tuple[str, str]:
        if match := _CLOSING[self._close].search(text):
            reasoning = self._reasoned(text[: match.start()].rstrip())
            self._state, self._watching = _State.BEGINNING, False
            self._reasoning.append("")
            more, answer = self._begin(text[match.end() :])
            return reasoning + more, answer
        certain = text[: len(text) - _partial_tag(text, self._close)].rstrip()
        self._held = text[len(certain) :]
        return self._reasoned(certain), ""

    def _reasoned(self, text: str) -> str:
        text = text if any(self._reasoning) else text.lstrip()
        self._reasoning.append(text)
        return text

    def _decide(self, text: str) -> tuple[str, str]:
        if not _CLOSING[_UNOPENED].search(text, self._searched):
            self._held, self._searched = text, max(len(text) - len(_UNOPENED), 0)
            return "", ""
        self._habit.unopened = True
        return self._reason(text)

    def _watch(self, text: str) -> tuple[str, str]:
        """Pass the answer on, until a closing tag without an opening one shows that it was reasoning."""
        match = _CLOSING[_UNOPENED].search(text) if self._watching else None
        if match is None:
            self._watching = self._watching and "<think" not in text.lower()
            certain = text[: len(text) - _partial_tag(text, _UNOPENED)] if self._watching else text
            self._held = text[len(certain) :]
            self._answer.append(certain)
            return "", certain
        sent = "".join(self._answer)
        before, after = sent + text[: match.start()], text[match.end() :]
        if "<think" in before.lower() or before[-1:] in _QUOTES or before.count("```") % 2:
            self._watching = False  # it is mentioned
            return "", text
        self._habit.unopened = True
        self.misplaced = len(sent)
        self._state, self._watching = _State.BEGINNING, False
        self._reasoning.append(before.strip())
        more, answer = self._begin(after)
        return before.strip() + more, answer


def _partial_tag(text: str, tag: str) -> int:
    """Return the length of the longest end of a text that is the beginning of a tag."""
    end = text[-len(tag) + 1 :].lower()
    return next((len(end) - place for place in range(len(end)) if tag.startswith(end[place:])), 0)
