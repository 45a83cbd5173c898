"""The request body of `/v1/responses`, and its input as messages and decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from project4_agent_api.agents.client_tools import ClientTool, FlatClientTools
from project4_agent_api.core.schemas import AnyJson, JsonObject
from project4_agent_api.wires.openai.errors import unsupported
from project4_agent_api.wires.openai.schemas import Body, Id, StreamOptions
from project4_agent_api.wires.openai.tools import from_flat
from shared.schemas import WITHOUT_NUL, RequestBody

INSTRUCTIONS_ID = "instructions"  # of the message, so that the next instructions take its place


class ConversationId(RequestBody):
    """A conversation."""

    id: Id


class ResponseRequest(Body):
    """A request for a response."""

    tools: FlatClientTools | None = None
    input: Annotated[str, WITHOUT_NUL] | Annotated[list[JsonObject], Field(max_length=10_000)] | None = None
    instructions: Annotated[str, WITHOUT_NUL] | None = Field(
        default=None, description="A system message, which stays in the conversation until the next instructions."
    )
    previous_response_id: Id | None = None
    conversation: Id | ConversationId | None = None
    store: bool | None = Field(default=None, description="Keep the response; default true.")
    background: bool | None = Field(default=None, description="Respond at once; the run does not need its client.")
    stream_options: StreamOptions | None = None
    access_programs: AnyJson = None
    background_options: AnyJson = None
    context_management: AnyJson = None
    image: AnyJson = None
    include: AnyJson = None
    max_output_tokens: AnyJson = None
    max_tool_calls: AnyJson = None
    prompt: AnyJson = None
    reasoning: AnyJson = None
    text: AnyJson = None
    truncation: AnyJson = None

    def client_tools(self) -> list[ClientTool]:
        """Return the client's tools, in the form of chat completions."""
        return [from_flat(tool) for tool in self.tools or ()]

    @property
    def stored(self) -> bool:
        """Whether the response is kept."""
        return self.store is not False

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation."""
        return self.conversation.id if isinstance(self.conversation, ConversationId) else self.conversation

    def require_supported(self) -> None:
        """Check that nothing was sent that cannot be honoured.

        Raises:
            RequestValidationError: with the name of the parameter.
        """
        super().require_supported()
        if self.previous_response_id and self.conversation:
            raise unsupported("previous_response_id", "give either this or `conversation`")
        if not self.stored:
            for name in ("background", "conversation", "previous_response_id"):
                if getattr(self, name):
                    raise unsupported(name, "a response that is not stored has no thread; leave out `store`")
        text_format = self.text.get("format") if isinstance(self.text, dict) else None
        if text_format not in (None, {"type": "text"}):
            raise unsupported("text.format", "an assistant answers in text")


@dataclass
class Input:
    """The input of a request.

    Attributes:
        messages: In the form of chat completions.
        decisions: The decision on each approval request, by its id: approved or not, and the reason.
        answers: The answers to other questions, and the results of the client's tools, by the call's id: a text, or
            parts of a message's content.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    decisions: dict[str, tuple[bool, str | None]] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    _calls: set[str] = field(default_factory=set)

    @classmethod
    def from_request(cls, body: ResponseRequest) -> "Input":
        """Read the input of a request.

        Raises:
            RequestValidationError: if an item is of a kind that an assistant cannot take.
        """
        read = cls()
        if body.instructions:
            read.messages.append({"role": "system", "content": body.instructions, "id": INSTRUCTIONS_ID})
        items = body.input if isinstance(body.input, list) else [{"role": "user", "content": body.input or ""}]
        for position, item in enumerate(items):
            read._add(item, f"input.{position}")
        if read.resumes and any(message["role"] == "user" for message in read.messages):
            raise unsupported("input", "answer the questions first, and send the message with the next request")
        return read

    @property
    def resumes(self) -> bool:
        """Whether it answers questions."""
        return bool(self.decisions or self.answers)

    def _add(self, item: Mapping[str, Any], place: str) -> None:
        match item:
            case {"role": "user" | "system" | "developer" | "assistant" as role, "content": content}:
                role = "system" if role == "developer" else role
                self.messages.append({"role": role, "content": _content(content, f"{place}.content")})
            case {"type": "mcp_approval_response", "approval_request_id": str(id_), "approve": bool(approve)}:
                self.decisions[id_] = approve, item.get("reason")
            case {"type": "function_call", "call_id": str(id_), "name": str(name), "arguments": str(arguments)}:
                self._add_call(id_, name, arguments)
            case {"type": "function_call_output", "call_id": str(call_id), "output": output}:
                result = _content(output, f"{place}.output")
                if call_id in self._calls:
                    self.messages.append({"role": "tool", "tool_call_id": call_id, "content": result})
                else:
                    self.answers[call_id] = result
            case {"type": "mcp_call", "id": str(id_), "name": str(name), "arguments": str(arguments)}:
                self._add_call(id_, name, arguments)
                result = item.get("output") or item.get("error") or ""
                self.messages.append({"role": "tool", "tool_call_id": id_, "content": str(result)})
            case {"type": "reasoning"}:  # of an answer that comes back as history; models take none
                pass
            case _:
                kind = item.get("type", "message")
                raise unsupported(place, f"an item `{str(kind)[:50]}` of this form cannot be taken")

    def _add_call(self, id_: str, name: str, arguments: str) -> None:
        """Add a call of the history. Calls that follow one another belong to one message."""
        call = {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
        self._calls.add(id_)
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": ""})
        self.messages[-1].setdefault("tool_calls", []).append(call)


def _content(content: object, place: str) -> Any:  # noqa: ANN401  a text, or parts
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [None]
    return [_part(part, f"{place}.{position}") for position, part in enumerate(parts)]


def _part(part: Any, place: str) -> dict[str, Any]:  # noqa: ANN401  any JSON
    """Return a part of a message's content in the form of chat completions."""
    match part:
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "refusal", "refusal": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "input_image", "image_url": str(url)}:
            return {"type": "image_url", "image_url": {"url": url, "detail": part.get("detail") or "auto"}}
        case {"type": "input_file", "file_data": str(data)}:
            return {"type": "file", "file": {"file_data": data, "filename": part.get("filename") or "file"}}
        case {"type": "input_audio", "input_audio": dict(audio)}:
            return {"type": "input_audio", "input_audio": audio}
    raise unsupported(place, "only text, images, files and audio can be taken, each with its data or its URL")
