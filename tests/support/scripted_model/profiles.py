"""Model endpoints by name: what each refuses, in its own words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.scripted_model import strictness
from tests.support.scripted_model.strictness import Rule, Violation


@dataclass(frozen=True)
class Profile:
    """A kind of endpoint.

    Attributes:
        rules: What a request must fulfil.
    """

    name: str
    rules: tuple[Rule, ...]

    def check(self, body: dict[str, Any]) -> Iterator[Violation]:
        """Yield the violations of a request for a chat completion."""
        for rule in self.rules:
            yield from rule(body)

    def error(self, violation: Violation) -> dict[str, Any]:
        """Return the body of the response to a request with a violation."""
        return {
            "error": {
                "message": violation.message,
                "type": "invalid_request_error",
                "param": violation.param,
                "code": violation.code,
            }
        }


OPENAI = Profile("openai", (strictness.tool_results_follow_their_calls, strictness.call_ids_are_unique_strings))
STRICTEST = Profile("strictest", OPENAI.rules)

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (OPENAI, STRICTEST)}
