"""Fields of providers beyond OpenAI's: keep them with a message, and send them back to the model that sent them.

A model that reasons between tool calls needs its reasoning back, or its endpoint refuses the request: DeepSeek wants
`reasoning_content` for every turn with tool calls, Gemini `thought_signature` for each call, OpenRouter
`reasoning_details`. Endpoints that never send such a field refuse it (Cerebras, Groq), so a model gets back what it
sent itself, and nothing of another model.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from shared.models.tool_calls import CALL_FIELDS, AssembledCall

KEY = "provider_fields"  # in `additional_kwargs`
REASONING = "reasoning_content"  # in `additional_kwargs`: LangChain makes a content block of it
_TEXT_FIELDS = (REASONING, "reasoning", "reasoning_text", "thinking")
_OPAQUE_FIELDS = ("reasoning_details", "reasoning_opaque", "thinking_blocks", "extra_content")
# Ids that mean something: LiteLLM puts Gemini's signature into them, and Kimi's template shows them to the model.
_MEANINGFUL_ID = re.compile(r".*__thought__.*|functions\.[\w.-]+:\d+", re.DOTALL)


class ProviderFields:
    """Collects the fields of one answer."""

    def __init__(self) -> None:
        self.source = ""  # the field that the reasoning came in, or "text"; `reasoning_content` also if it was empty
        self._fields: dict[str, Any] = {}

    def reasoning_from(self, source: str) -> None:
        """Remember the form in which the reasoning arrived."""
        self.source = self.source or source

    def add(self, sent: dict[str, Any]) -> str:
        """Add the fields of a chunk or a message; return the reasoning in them."""
        for name in _OPAQUE_FIELDS:
            if value := sent.get(name):
                self._fields[name] = _merge(self._fields.get(name), value)
        for name in _TEXT_FIELDS:
            if isinstance(text := sent.get(name), str) and (text or name == REASONING):
                self.reasoning_from(name)
                if text:
                    return text
        details = sent.get("reasoning_details") or sent.get("thinking_blocks")
        return "".join(_detail_texts(details)) if isinstance(details, list) else ""

    def to_dict(self, origin: str, calls: Iterable[AssembledCall]) -> dict[str, Any]:
        """Return the fields as JSON, empty if there are none."""
        of_calls = {call.id: dict(call.fields) for call in calls}
        for call in calls:
            if call.sent_id and _MEANINGFUL_ID.fullmatch(call.sent_id):
                of_calls[call.id]["id"] = call.sent_id
        kept = {
            "source": self.source,
            "fields": self._fields,
            "calls": {id_: fields for id_, fields in of_calls.items() if fields},
        }
        kept = {key: value for key, value in kept.items() if value}
        return {"origin": origin} | kept if kept else {}


def restore_provider_fields(
    payload: list[dict[str, Any]], messages: Sequence[BaseMessage], origin: str, *, wants_reasoning: bool
) -> None:
    """Add the fields of the endpoint's own messages to a request, and remove what no endpoint needs.

    Args:
        payload: The messages in OpenAI's form; changed in place.
        messages: The messages from which the payload was made.
        origin: Identifies the endpoint and the model.
        wants_reasoning: Whether the model is known to send `reasoning_content`.
    """
    ids: dict[str, str] = {}
    for turn in _turns(messages):
        replies = {place: message for place in turn if isinstance(message := messages[place], AIMessage)}
        has_calls = any(message.tool_calls for message in replies.values())
        for place, message in replies.items():
            _flatten(payload[place])
            kept = message.additional_kwargs.get(KEY)
            if isinstance(kept, dict) and kept.get("origin") == origin:
                current = turn[-1] == len(messages) - 1
                _restore(payload[place], message, kept, with_reasoning=has_calls, current=current)
                ids |= _sent_ids(kept)
                wants_reasoning = wants_reasoning or kept.get("source") == REASONING
        if has_calls and wants_reasoning:  # DeepSeek wants it in each message, also if there was none
            for place in replies:
                payload[place].setdefault(REASONING, "")
    _restore_ids(payload, ids)


def _turns(messages: Sequence[BaseMessage]) -> list[list[int]]:
    """Return the places of the messages of each turn; a turn begins with the user's message."""
    turns: list[list[int]] = [[]]
    for place, message in enumerate(messages):
        if isinstance(message, HumanMessage) and turns[-1]:
            turns.append([])
        turns[-1].append(place)
    return turns


def _flatten(sent: dict[str, Any]) -> None:
    sent.pop("name", None)  # the graph's name for its node; several endpoints refuse the field
    content = sent["content"]
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        sent["content"] = "".join(part["text"] for part in content) or (None if sent.get("tool_calls") else "")


def _restore(
    sent: dict[str, Any], message: AIMessage, kept: dict[str, Any], *, with_reasoning: bool, current: bool
) -> None:
    fields, of_calls = kept.get("fields"), kept.get("calls")
    if isinstance(fields, dict):
        sent |= {name: fields[name] for name in _OPAQUE_FIELDS if name in fields}
    for call in sent.get("tool_calls") or []:
        if isinstance(of_calls, dict) and isinstance(of_call := of_calls.get(call["id"]), dict):
            call |= {name: of_call[name] for name in CALL_FIELDS if name in of_call}
    reasoning, source = message.additional_kwargs.get(REASONING), kept.get("source")
    if not isinstance(reasoning, str) or not with_reasoning:
        return
    if source in _TEXT_FIELDS:
        sent[source] = reasoning
    elif source == "text" and current:  # chat templates cut it out of earlier turns, and some want it in this one
        sent["content"] = f"<think>\n{reasoning}\n</think>\n\n{sent['content'] or ''}"


def _sent_ids(kept: dict[str, Any]) -> dict[str, str]:
    of_calls = kept.get("calls")
    pairs = of_calls.items() if isinstance(of_calls, dict) else ()
    return {
        id_: fields["id"] for id_, fields in pairs if isinstance(fields, dict) and isinstance(fields.get("id"), str)
    }


def _restore_ids(payload: list[dict[str, Any]], ids: dict[str, str]) -> None:
    """Replace the service's ids by the endpoint's where these are unique."""
    counts = Counter(ids.values())
    ids = {own: theirs for own, theirs in ids.items() if counts[theirs] == 1}
    if not ids:
        return
    for message in payload:
        for call in message.get("tool_calls") or []:
            call["id"] = ids.get(call["id"], call["id"])
        if "tool_call_id" in message:
            message["tool_call_id"] = ids.get(message["tool_call_id"], message["tool_call_id"])


def _detail_texts(details: list[Any]) -> list[str]:
    names = ("text", "summary", "thinking")
    texts = [next(filter(None, map(detail.get, names)), None) for detail in details if isinstance(detail, dict)]
    return [text for text in texts if isinstance(text, str)]


def _merge(old: Any, new: Any) -> Any:  # noqa: ANN401  JSON
    """Merge a field of a later chunk into that of the earlier ones."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _merge(old.get(key), value) for key, value in new.items() if value is not None}
    if isinstance(old, list) and isinstance(new, list):
        merged = list(old)
        for entry in new:
            if merged and _continues(merged[-1], entry):
                merged[-1] = merged[-1] | {
                    key: merged[-1][key] + value if key in ("text", "summary", "data") and key in merged[-1] else value
                    for key, value in entry.items()
                    if value is not None
                }
            else:
                merged.append(entry)
        return merged
    return new


def _continues(last: Any, entry: Any) -> bool:  # noqa: ANN401  JSON
    """Return whether an entry of `reasoning_details` is a further piece of the last one."""
    if not isinstance(last, dict) or not isinstance(entry, dict):
        return False
    if any(last.get(key) != entry.get(key) for key in ("type", "index")):
        return False
    if "data" in entry and entry.get("index") is None:  # encrypted entries are whole
        return False
    return last.get("id") == entry.get("id") or None in (last.get("id"), entry.get("id"))
