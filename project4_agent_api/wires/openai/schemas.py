"""Request bodies of OpenAI's API.

A parameter is honoured, or refused with its name, or ignored: clients send `temperature` and the like with every
request, and an assistant's model has settings of its own. The names of ignored parameters are in a header of the
response. An unknown parameter is refused.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from project4_agent_api.agents.client_tools import CLIENT_TOOLS, ClientTool, ClientTools
from project4_agent_api.core.schemas import AnyJson, JsonObject
from project4_agent_api.wires.openai.errors import unsupported
from shared.schemas import WITHOUT_NUL, RequestBody

Model = Annotated[str, Field(min_length=1, max_length=200, description="An assistant's id or name."), WITHOUT_NUL]
Id = Annotated[str, Field(min_length=1, max_length=100)]
_MAX_METADATA = 16  # as in OpenAI's API
_OLD_FUNCTIONS = "it is the older form of `tools`, which can be sent"


def _small(metadata: dict[str, str] | None) -> dict[str, str] | None:
    if metadata and len(metadata) > _MAX_METADATA:
        raise ValueError(f"must not have more than {_MAX_METADATA} keys")
    return metadata


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64), WITHOUT_NUL], Annotated[str, Field(max_length=512), WITHOUT_NUL]] | None,
    AfterValidator(_small),
]


class StreamOptions(RequestBody):
    """Options of a stream."""

    include_usage: bool | None = Field(default=None, description="Send the usage as the last chunk.")
    include_obfuscation: bool | None = Field(default=None, description="Ignored: nothing is added to hide lengths.")


class Body(RequestBody):
    """The parameters that both kinds of requests have.

    Those of type `AnyJson` are ignored, unless `_REFUSED` has them.
    """

    model: Model
    stream: bool | None = None
    metadata: Metadata = Field(default=None, description="Stored as the metadata of the run.")
    tool_choice: AnyJson = None
    moderation: AnyJson = None
    parallel_tool_calls: AnyJson = None
    prompt_cache_key: AnyJson = None
    prompt_cache_options: AnyJson = None
    prompt_cache_retention: AnyJson = None
    safety_identifier: AnyJson = None
    service_tier: AnyJson = None
    temperature: AnyJson = None
    top_logprobs: AnyJson = None
    top_p: AnyJson = None
    user: AnyJson = None

    def ignored(self) -> list[str]:
        """Return the names of the parameters that were sent and are ignored."""
        return sorted(name for name in self.model_fields_set & _IGNORED if getattr(self, name) is not None)

    def require_supported(self) -> None:
        """Check that nothing was sent that cannot be honoured.

        Raises:
            RequestValidationError: with the name of the parameter.
        """
        for name, (accepted, reason) in _REFUSED.items():
            value = getattr(self, name, None)
            if value not in (None, *accepted):
                raise unsupported(name, reason)

    def client_tools(self) -> list[ClientTool]:
        """Return the client's tools, in the form of chat completions."""
        raise NotImplementedError

    def context(self) -> dict[str, Any]:
        """Return the context of a run that offers the client's tools to the model; nothing without any.

        Raises:
            RequestValidationError: if the choice is none of the tools.
        """
        tools, choice = self.client_tools(), self.tool_choice or "auto"
        if choice == "none" or (choice == "auto" and not tools):
            return {}
        if choice == "auto":
            return {CLIENT_TOOLS: tools}
        names = [tool["function"]["name"] for tool in tools]
        chosen = [name for name in names if choice == "required" or _is_choice(choice, name)]
        if not chosen:
            raise unsupported("tool_choice", "it has to be `auto`, `none`, or `required` or a function with `tools`")
        return {CLIENT_TOOLS: tools, "client_tool_choice": "required" if choice == "required" else chosen[0]}


def _is_choice(choice: object, name: str) -> bool:
    """Return whether a choice is a function, in the form of chat completions or of responses."""
    return choice in ({"type": "function", "function": {"name": name}}, {"type": "function", "name": name})


_IGNORED = {
    "frequency_penalty",
    "include",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "reasoning_effort",
    "safety_identifier",
    "seed",
    "service_tier",
    "temperature",
    "top_p",
    "truncation",
    "user",
    "verbosity",
}
_ONE_MODEL = "the assistant's model has settings of its own"
# The values that mean the same as nothing, and why others are refused.
_REFUSED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "access_programs": ((), _ONE_MODEL),
    "audio": ((), "answers are text"),
    "background_options": ((), "a run is executed as soon as a worker is free"),
    "context_management": (([],), _ONE_MODEL),
    "function_call": (("auto", "none"), _OLD_FUNCTIONS),
    "functions": (([],), _OLD_FUNCTIONS),
    "image": ((), "answers are text"),
    "logit_bias": (({},), _ONE_MODEL),
    "logprobs": ((False,), "the probabilities of tokens are not known"),
    "max_tool_calls": ((), "the number of tool calls is a setting of the server"),
    "modalities": ((["text"],), "answers are text"),
    "moderation": ((), "there is no moderation besides the model's own"),
    "n": ((1,), "a run has one answer"),
    "prediction": ((), _ONE_MODEL),
    "prompt": ((), "there are no stored prompts; an assistant has its own"),
    "response_format": (({"type": "text"},), "an assistant answers in text"),
    "stop": (([], ""), _ONE_MODEL),
    "top_logprobs": ((0,), "the probabilities of tokens are not known"),
    "web_search_options": ((), "an assistant searches with tools of its own"),
}


class ChatMessage(RequestBody):
    """A message of a chat. Content parts are passed on to the model."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[JsonObject] | None = None
    name: str | None = None
    tool_calls: list[JsonObject] | None = None
    tool_call_id: str | None = None
    function_call: AnyJson = None
    refusal: AnyJson = None
    audio: AnyJson = None
    annotations: AnyJson = None
    reasoning_content: AnyJson = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.role == "tool" and not self.tool_call_id:
            raise ValueError("`tool_call_id` is required")
        if self.role == "function":
            raise ValueError("use the role `tool`")
        if self.content is None and self.role != "assistant":
            raise ValueError("`content` is required")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the message as input of a graph."""
        role = "system" if self.role == "developer" else self.role
        message: dict[str, Any] = {"role": role, "content": self.content or ""}
        for name in ("name", "tool_calls", "tool_call_id"):
            if value := getattr(self, name):
                message[name] = value
        return message


class ChatRequest(Body):
    """A request for a chat completion."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    tools: ClientTools | None = None
    stream_options: StreamOptions | None = None
    audio: AnyJson = None
    frequency_penalty: AnyJson = None
    function_call: AnyJson = None
    functions: AnyJson = None
    logit_bias: AnyJson = None
    logprobs: AnyJson = None
    max_completion_tokens: AnyJson = None
    max_tokens: AnyJson = None
    modalities: AnyJson = None
    n: AnyJson = None
    prediction: AnyJson = None
    presence_penalty: AnyJson = None
    reasoning_effort: AnyJson = None
    response_format: AnyJson = None
    seed: AnyJson = None
    stop: AnyJson = None
    store: Literal[False] | None = None
    verbosity: AnyJson = None
    web_search_options: AnyJson = None

    def client_tools(self) -> list[ClientTool]:
        """Return the client's tools."""
        return self.tools or []
