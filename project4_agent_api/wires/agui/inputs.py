"""The input of AG-UI's requests as input of a graph."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from ag_ui.core import Message, ResumeEntry, RunAgentInput, Tool
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from project4_agent_api.agents.client_tools import CLIENT_TOOLS, ClientTool, ClientTools
from project4_agent_api.wires.client_tools import ClientCall
from project4_agent_api.wires.items import Interrupt

_CONTEXT_ID = "ag-ui-context"  # of the message with the context, so that the next context takes its place
_MEDIA = ("image", "audio", "video", "document")
_TOOLS = TypeAdapter(ClientTools)
_REJECTED = {"type": "reject", "message": "The user cancelled the request."}


def thread_id_of(text: str, account_id: UUID) -> UUID:
    """Return the id of the thread that a client names: an id, or any text, which belongs to the account."""
    try:
        return UUID(text)
    except ValueError:
        return uuid5(account_id, text)


def run_body(
    request: RunAgentInput, assistant_id: UUID, values: Mapping[str, Any], interrupts: Sequence[Interrupt]
) -> dict[str, Any]:
    """Return the run of a request, in the form of LangGraph's API.

    Args:
        values: The state of the thread; empty if there is no thread yet.
        interrupts: The open questions of the thread.

    Raises:
        RequestValidationError: if something in the request cannot be honoured.
    """
    props = request.forwarded_props if isinstance(request.forwarded_props, dict) else {}
    body: dict[str, Any] = {
        "assistant_id": str(assistant_id),
        "if_not_exists": "create",
        "metadata": {"ag_ui_run_id": request.run_id},
        "on_disconnect": "continue" if props.get("onDisconnect") == "continue" else "cancel",
    }
    if tools := _client_tools(request.tools or ()):
        body["context"] = {CLIENT_TOOLS: tools}
    messages = _new_messages(request.messages, values)
    answers = _resume(request.resume or (), interrupts) | _results(messages, interrupts)
    if answers:
        return body | {"command": {"resume": answers}, "strict_resume": True}
    if not messages:
        raise invalid("messages", "there is no new message; add one, or send `resume`")
    if request.context:
        text = "\n".join(f"{entry.description}: {entry.value}" for entry in request.context)
        messages = [{"role": "system", "id": _CONTEXT_ID, "content": text}, *messages]
    state = request.state if isinstance(request.state, dict) else {}
    changed = {name: value for name, value in state.items() if name != "messages" and values.get(name) != value}
    return body | {"input": changed | {"messages": messages}}


def _client_tools(tools: Sequence[Tool]) -> list[ClientTool]:
    """Return the client's tools in the form of chat completions."""
    given = [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters or {}},
        }
        for tool in tools
    ]
    try:
        return _TOOLS.validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("tools", *first["loc"]) if part != "function")
        raise invalid(where, first["msg"]) from None


def _results(messages: Sequence[Mapping[str, Any]], interrupts: Sequence[Interrupt]) -> dict[str, Any]:
    """Return the results of the client's tools, by the ids of the questions that wait for them.

    A user who writes instead, or as well, starts a new turn with all of the messages: none is returned.
    """
    if any(message["role"] == "user" for message in messages):
        return {}
    results = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    calls = [(interrupt.id, call) for interrupt in interrupts if (call := ClientCall.from_interrupt(interrupt))]
    return {id_: call.answer(results[call.call_id]) for id_, call in calls if call.call_id in results}


def _resume(entries: Sequence[ResumeEntry], interrupts: Sequence[Interrupt]) -> dict[str, Any]:
    """Return the value that resumes a graph, by the ids of its questions."""
    open_ = {interrupt.id: interrupt for interrupt in interrupts}
    answers: dict[str, Any] = {}
    for position, entry in enumerate(entries):
        interrupt = open_.get(entry.interrupt_id)
        if interrupt is None:
            raise invalid(f"resume.{position}.interruptId", "no question with this id is open")
        answers[interrupt.id] = entry.payload if entry.status == "resolved" else _cancellation(interrupt.value)
    return answers


def _cancellation(question: Any) -> Any:  # noqa: ANN401  any JSON
    """Return the answer to a question that the user has cancelled: approvals are refused, other answers are null."""
    actions = question.get("action_requests") if isinstance(question, dict) else None
    return {"decisions": [_REJECTED for _ in actions]} if isinstance(actions, list) else None


def _new_messages(messages: Sequence[Message], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages after the last one that the thread has: clients send the whole conversation."""
    stored = values.get("messages")
    known = (
        {message.get("id") for message in stored if isinstance(message, dict)} if isinstance(stored, list) else set()
    )
    last = max((position for position, message in enumerate(messages) if message.id in known), default=-1)
    converted = (_to_message(message, f"messages.{at}") for at, message in enumerate(messages) if at > last)
    return [message for message in converted if message]


def _to_message(message: Message, place: str) -> dict[str, Any] | None:
    """Return a message in the form of chat completions; None for one that only user interfaces need."""
    match message.role:
        case "system" | "developer" | "user" as role:
            content = _content(message.content, f"{place}.content")
            return {"id": message.id, "role": "user" if role == "user" else "system", "content": content}
        case "assistant":
            calls = [call.model_dump(include={"id", "type", "function"}) for call in message.tool_calls or ()]
            answer = {"id": message.id, "role": "assistant", "content": message.content or ""}
            return answer | ({"tool_calls": calls} if calls else {})
        case "tool":
            content = _content(message.content, f"{place}.content")
            return {"id": message.id, "role": "tool", "tool_call_id": message.tool_call_id, "content": content}
    return None


def _content(content: Any, place: str) -> Any:  # noqa: ANN401  a text, or parts
    if isinstance(content, str):
        return content
    return [_part(part.model_dump(), f"{place}.{position}") for position, part in enumerate(content)]


def _part(part: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return a part of a message's content in the form of chat completions."""
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    source = part["source"]
    if source["type"] == "data":
        url = f"data:{source['mime_type']};base64,{source['value']}"
    elif source["type"] == "url":
        url = source["value"]
    else:
        raise invalid(f"{place}.source", "a file of a provider cannot be read; send its data or its URL")
    if part["type"] == "image":
        return {"type": "image_url", "image_url": {"url": url}}
    if part["type"] == "document" and source["type"] == "data":
        return {"type": "file", "file": {"file_data": url, "filename": "document"}}
    raise invalid(place, "only text, images and documents with their data can be taken")


def invalid(param: str, reason: str) -> RequestValidationError:
    """Return the error of a part of a request."""
    return RequestValidationError([{"type": "value_error", "loc": ("body", *param.split(".")), "msg": reason}])
