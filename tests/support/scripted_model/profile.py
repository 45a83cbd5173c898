"""An endpoint's profile: its rules, and the form of its answers and errors."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from tests.support.scripted_model.behaviours import sends_json
from tests.support.scripted_model.connection import Behaviour
from tests.support.scripted_model.strictness import Body, Rule, Violation
from tests.support.scripted_model.wire import Wire

Error = Callable[[Violation], object]


@dataclass(frozen=True)
class Profile:
    """A kind of endpoint.

    Attributes:
        rules: Conditions that a request must fulfil.
        wire: How answers are written.
        error: The body of an error's response.
        too_long: Refusal of a prompt that does not fit into the context.
        filtered: Refusal of a prompt by a content filter; None if the endpoint has no filter, or answers with the
            finish reason `content_filter`.
        refused: Refusal of a request with a parameter that the model does not take; `{}` is its name. None if the
            endpoint ignores it.
        filters: Whether answers can end with the finish reason `content_filter`.
    """

    name: str
    rules: tuple[Rule, ...]
    wire: Wire
    error: Error
    too_long: Violation
    filtered: Violation | None = None
    refused: Violation | None = None
    filters: bool = False

    def check(self, body: Body) -> Iterator[Violation]:
        """Yield the violations of a request for a chat completion."""
        for rule in self.rules:
            yield from rule(body)

    def refuses(self, violation: Violation) -> Behaviour:
        """Answer with the error of a violation."""
        return sends_json(self.error(violation), status=violation.status)

    def refusing(self, *names: str) -> "Profile":
        """Return the endpoint with a model that does not take these parameters."""
        assert self.refused
        words = self.refused

        def rule(body: Body) -> Iterator[Violation]:
            for name in names:
                if name in body:
                    param = words.param and words.param.format(name)
                    yield replace(words, message=words.message.format(name), param=param)

        return replace(self, rules=(*self.rules, rule))


def openai_error(violation: Violation) -> object:
    """Return an error in OpenAI's shape."""
    return {
        "error": {
            "message": violation.message,
            "type": violation.type or "invalid_request_error",
            "param": violation.param,
            "code": violation.code,
        }
    }


def worded(rule: Rule, words: Mapping[str, str], code: str | None = None) -> Rule:
    """Return a rule whose errors have other words: those of the first key that is in OpenAI's."""

    def other(body: Body) -> Iterator[Violation]:
        for violation in rule(body):
            message = next((text for part, text in words.items() if part in violation.message), violation.message)
            yield replace(violation, message=message, param=None, code=code)

    return other
