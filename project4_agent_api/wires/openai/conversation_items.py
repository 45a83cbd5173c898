"""The messages of a thread as items of OpenAI's API."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict

from project4_agent_api.wires.items import read_state
from project4_agent_api.wires.messages import client_tools, content_text, to_message
from project4_agent_api.wires.openai.response_events import ResponseBuilder
from shared.errors import NotFound

Json = dict[str, Any]
_OF_USER = {"human": "user", "user": "user", "system": "system", "developer": "system"}


class ItemPage(BaseModel):
    """The part of a list of items that is requested."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Query(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None

    def cut(self, items: Sequence[Json]) -> Json:
        """Return the page of a list, which is in the order of time.

        Raises:
            NotFound: if there is no item with the id `after`.
        """
        ordered = list(items) if self.order == "asc" else list(reversed(items))
        ids = [item["id"] for item in ordered]
        if self.after is not None and self.after not in ids:
            raise NotFound("There is no item with the id that `after` names.")
        start = ids.index(self.after) + 1 if self.after is not None else 0
        page = ordered[start : start + self.limit]
        return {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(ordered) > start + self.limit,
        }


def to_items(messages: Sequence[Any], label: str) -> Iterator[Json]:
    """Convert messages in LangChain's form, or in that of a request.

    Args:
        label: The name of the server whose tools were called.
    """
    answers: list[Any] = []
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        role = _OF_USER.get(str(message.get("type") or message.get("role")))
        if result := _client_result(message):
            yield from _answer_items(answers, label)
            yield result
            answers = []
            continue
        if role is None:
            answers.append(message)
            continue
        yield from _answer_items(answers, label)
        answers = []
        id_ = f"msg_{message.get('id') or position}"
        content = message.get("content")
        text = {"type": "input_text", "text": content_text(content)}
        images = [_image(part) for part in (content if isinstance(content, list) else ()) if _is_image(part)]
        yield {"type": "message", "id": id_, "role": role, "status": "completed", "content": [text, *images]}
    yield from _answer_items(answers, label)


def _client_result(message: Json) -> Json | None:
    """Return the result of a client's tool as an item; None for another message."""
    converted = to_message(message)
    if not converted or converted["type"] != "tool" or not client_tools(converted):
        return None
    result = {"call_id": converted["tool_call_id"], "output": content_text(converted["content"])}
    return {"type": "function_call_output", "id": f"fco_{converted['id']}", "status": "completed", **result}


def _answer_items(messages: Sequence[Any], label: str) -> Iterator[Json]:
    builder = ResponseBuilder({"model": label})
    for item in read_state({}, {"messages": messages}, ()):
        for _ in builder.add(item):
            pass
    yield from builder.complete_output()


def _is_image(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("image_url"), dict)


def _image(part: Json) -> Json:
    detail = part["image_url"].get("detail") or "auto"
    return {"type": "input_image", "image_url": part["image_url"].get("url"), "detail": detail, "file_id": None}
