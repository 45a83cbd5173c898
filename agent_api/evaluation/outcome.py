"""The outcome of a run: its answer, its calls of tools, and the passages and citations in the thread's state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from project4_agent_api.core.model_usage import Cost
from project4_agent_api.wires.messages import content_text

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Passage:
    """A passage that a search found."""

    document: str
    text: str
    chunk_id: str


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Attributes:
        error: Why there is no answer; empty if there is one.
        calls: Calls of tools since the user's last message, in order, with `name` and `args`.
        passages: The passages found by the run's searches, best first.
        costs: Costs of the example's runs, as far as the server reports them.
        citations: All citations that the answer can refer to, with `marker`, `filename`, `chunk_id` and `quote`.
    """

    answer: str = ""
    error: str = ""
    calls: Sequence[Json] = ()
    passages: Sequence[Passage] = ()
    citations: Sequence[Json] = ()
    tokens: int = 0
    costs: Sequence[Cost] = ()
    seconds: float = 0.0
    thread_id: str = ""
    run_id: str = ""

    def cited(self) -> list[Json]:
        """Return the citations whose marker stands in the answer."""
        return [citation for citation in self.citations if f"[{citation.get('marker')}]" in self.answer]


def read_outcome(values: Any, **fields: Any) -> Outcome:  # noqa: ANN401  a graph's state has any type
    """Read the state of a thread after a run."""
    state = values if isinstance(values, dict) else {}
    messages = [message for message in state.get("messages") or [] if isinstance(message, dict)]
    last_question = max((place for place, each in enumerate(messages) if _type(each) == "human"), default=-1)
    since = messages[last_question + 1 :]
    written = [message for message in since if _type(message) == "ai"]
    artifacts = [artifact for message in since if isinstance(artifact := message.get("artifact"), dict)]
    found = [citation for artifact in artifacts for citation in _objects(artifact.get("citations"))]
    passages = [*_passages(state.get("passages")), *_passages(found, text="quote")]
    return Outcome(
        answer=content_text(written[-1].get("content")) if written else _plain(values),
        calls=[call for message in written for call in message.get("tool_calls") or []],
        passages=passages,
        citations=[*_objects(state.get("citations")), *found],
        tokens=sum((message.get("usage_metadata") or {}).get("total_tokens", 0) for message in written),
        **fields,
    )


def _type(message: Json) -> str:
    kind = str(message.get("type") or message.get("role"))
    return {"user": "human", "assistant": "ai", "AIMessageChunk": "ai"}.get(kind, kind)


def _plain(values: object) -> str:
    """Return the answer of a graph without messages: its only text, or nothing."""
    if isinstance(values, str):
        return values
    texts = [value for value in values.values() if isinstance(value, str)] if isinstance(values, dict) else []
    return texts[0] if len(texts) == 1 else ""


def _passages(found: object, text: str = "text") -> list[Passage]:
    return [
        Passage(str(passage.get("filename", "")), str(passage.get(text, "")), str(passage.get("chunk_id", "")))
        for passage in _objects(found)
    ]


def _objects(found: object) -> list[Json]:
    """Return the objects of a list; a graph of another author may keep anything under the same name."""
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
