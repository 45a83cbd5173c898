"""The scripted model's profiles: each takes a conversation that fulfils its rules, and refuses every fault in one."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from tests.support.scripted_model import PROFILES, ScriptedModel
from tests.support.scripted_model.wire import signature_of

Body = dict[str, Any]
Ask = Callable[[Body], httpx2.Response]

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("calculator", "clock")
]
STRICT_SCHEMA = {
    "type": "object",
    "properties": {"relevant": {"type": "boolean"}},
    "required": ["relevant"],
    "additionalProperties": False,
}


def call(call_id: str, name: str = "calculator", arguments: str = '{"a": 1}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def conversation(profile: str) -> Body:
    """Return a request that every profile takes, with the fields that this one wants back."""
    first: dict[str, Any] = {
        "role": "assistant",
        "content": None,
        "tool_calls": [call("aaaaaaaa1"), call("aaaaaaaa2", "clock")],
    }
    second = {"role": "assistant", "content": "One, at noon."}
    if profile == "deepseek":
        first["reasoning_content"], second["reasoning_content"] = "Let me see.", ""
    if profile == "gemini":
        first["tool_calls"][0] |= {
            "extra_content": {"google": {"thought_signature": signature_of("calculator", '{"a": 1}')}}
        }
    return {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is one, and when?"},
            first,
            {"role": "tool", "tool_call_id": "aaaaaaaa1", "content": "1"},
            {"role": "tool", "tool_call_id": "aaaaaaaa2", "content": "12:00"},
            second,
            {"role": "user", "content": "Thanks."},
        ],
        "tools": TOOLS,
        "tool_choice": "auto",
        "temperature": 0.5,
    }


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def ask(http: httpx2.Client, model: ScriptedModel) -> Ask:
    """Sends a request for a chat completion."""
    return lambda body: http.post(f"{model.base_url}/chat/completions", json=body)


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_takes_a_good_conversation(ask: Ask, model: ScriptedModel, profile: str) -> None:
    model.profile = PROFILES[profile]

    response = ask(conversation(profile))

    assert response.status_code == 200, response.text
    assert not model.violations


def without_result(body: Body) -> None:
    del body["messages"][4]


def without_any_result(body: Body) -> None:
    del body["messages"][3:5]


def open_at_the_end(body: Body) -> None:
    del body["messages"][3:]


def result_twice(body: Body) -> None:
    body["messages"].insert(4, body["messages"][3])


def result_of_nothing(body: Body) -> None:
    del body["messages"][2]


def foreign_result(body: Body) -> None:
    body["messages"][3]["tool_call_id"] = "bbbbbbbb1"


def result_after_the_user(body: Body) -> None:
    body["messages"].insert(4, {"role": "user", "content": "And?"})


def same_ids(body: Body) -> None:
    for place in (0, 1):
        body["messages"][2]["tool_calls"][place]["id"] = "aaaaaaaa1"
        body["messages"][3 + place]["tool_call_id"] = "aaaaaaaa1"


def empty_id(body: Body) -> None:
    body["messages"][2]["tool_calls"][0]["id"] = body["messages"][3]["tool_call_id"] = ""


def no_id(body: Body) -> None:
    body["messages"][2]["tool_calls"][0]["id"] = body["messages"][3]["tool_call_id"] = None


def long_id(body: Body) -> None:
    body["messages"][2]["tool_calls"][0]["id"] = body["messages"][3]["tool_call_id"] = "a" * 41


def id_of_openai(body: Body) -> None:
    body["messages"][2]["tool_calls"][0]["id"] = body["messages"][3]["tool_call_id"] = "call_1"


def id_again(body: Body) -> None:
    body["messages"] = body["messages"][:-1] + body["messages"][1:]


def id_with_colon(body: Body) -> None:
    body["messages"][2]["tool_calls"][0]["id"] = body["messages"][3]["tool_call_id"] = "functions.calculator:0"


def no_function_name(body: Body) -> None:
    del body["messages"][2]["tool_calls"][0]["function"]["name"]


def index_of_a_call(body: Body) -> None:
    body["messages"][2]["tool_calls"][0]["index"] = 0


def broken_arguments(body: Body) -> None:
    body["messages"][2]["tool_calls"][1]["function"]["arguments"] = '{"a": 1'


def arguments_as_a_list(body: Body) -> None:
    body["messages"][2]["tool_calls"][1]["function"]["arguments"] = "[1]"


def arguments_as_an_object(body: Body) -> None:
    body["messages"][2]["tool_calls"][1]["function"]["arguments"] = {"a": 1}


def no_messages(body: Body) -> None:
    body["messages"] = []


def unknown_role(body: Body) -> None:
    body["messages"][1]["role"] = "human"


def developer(body: Body) -> None:
    body["messages"][0]["role"] = "developer"


def null_content(body: Body) -> None:
    body["messages"][5]["content"] = None


def empty_content(body: Body) -> None:
    body["messages"][5]["content"] = ""


def empty_content_of_calls(body: Body) -> None:
    body["messages"][2]["content"] = ""


def image_of_the_system(body: Body) -> None:
    body["messages"][0]["content"] = [{"type": "image_url", "image_url": {"url": "https://example.com"}}]


def name_with_a_space(body: Body) -> None:
    body["messages"][1]["name"] = "Ada Lovelace"


def name(body: Body) -> None:
    body["messages"][5]["name"] = "agent"


def unknown_field(body: Body) -> None:
    body["messages"][1]["id"] = "1"


def system_later(body: Body) -> None:
    body["messages"].insert(6, {"role": "system", "content": "Be brief."})


def user_twice(body: Body) -> None:
    body["messages"].append({"role": "user", "content": "Well?"})


def user_after_a_tool(body: Body) -> None:
    del body["messages"][5]


def assistant_last(body: Body) -> None:
    del body["messages"][6]


def call_after_an_answer(body: Body) -> None:
    body["messages"].insert(2, {"role": "assistant", "content": "Let me see."})


def reasoning(body: Body) -> None:
    body["messages"][5]["reasoning_content"] = "Hm."


def no_reasoning(body: Body) -> None:
    body["messages"][2].pop("reasoning_content", None)


def no_reasoning_of_the_answer(body: Body) -> None:
    body["messages"][5].pop("reasoning_content", None)


def no_signature(body: Body) -> None:
    body["messages"][2]["tool_calls"][0].pop("extra_content", None)


def other_signature(body: Body) -> None:
    if extra := body["messages"][2]["tool_calls"][0].get("extra_content"):
        extra["google"]["thought_signature"] = "AAAA"


def unknown_parameter(body: Body) -> None:
    body["enable_thinking"] = False


def newer_limit(body: Body) -> None:
    body["max_completion_tokens"] = 10


def usage_of_no_stream(body: Body) -> None:
    body["stream_options"] = {"include_usage": True}


def choice_without_tools(body: Body) -> None:
    del body["tools"]


def parallel_without_tools(body: Body) -> None:
    del body["tools"], body["tool_choice"]
    body["parallel_tool_calls"] = False


def no_tools(body: Body) -> None:
    body["tools"] = []
    del body["tool_choice"]


def tool_with_a_dot(body: Body) -> None:
    body["tools"] = [copy.deepcopy(TOOLS[0])]
    body["tools"][0]["function"]["name"] = "docs.search"


def tool_without_an_object(body: Body) -> None:
    body["tools"] = [copy.deepcopy(TOOLS[0])]
    body["tools"][0]["function"]["parameters"] = {"type": "string"}


def unknown_tool(body: Body) -> None:
    body["tool_choice"] = {"type": "function", "function": {"name": "search"}}


def schema(changes: Body) -> Callable[[Body], None]:
    def fault(body: Body) -> None:
        given = {"name": "Grade", "strict": True, "schema": STRICT_SCHEMA | changes}
        body["response_format"] = {"type": "json_schema", "json_schema": given}

    return fault


open_schema, optional_property = schema({"additionalProperties": True}), schema({"required": []})
open_schema.__name__, optional_property.__name__ = "open_schema", "optional_property"


def any_json(body: Body) -> None:
    body["response_format"] = {"type": "json_object"}


# By fault, the profiles that refuse it, besides `strictest`; in brackets those that it does not follow.
OPENAI = "openai azure openrouter"
ORDER = f"{OPENAI} anthropic deepseek gemini mistral gateway"
CONTENT = f"{ORDER} vllm vllm-plain ollama llamacpp"
TEMPLATE = "llamacpp vllm-plain"
REFUSED_BY: dict[Callable[[Body], None], str] = {
    without_result: ORDER,
    without_any_result: ORDER,
    open_at_the_end: ORDER,
    result_twice: ORDER,
    result_of_nothing: ORDER,
    foreign_result: ORDER,
    result_after_the_user: ORDER + " llamacpp",
    same_ids: f"{OPENAI} deepseek anthropic",
    empty_id: f"{OPENAI} deepseek mistral anthropic",
    no_id: ORDER,
    long_id: f"{OPENAI} deepseek mistral",
    id_of_openai: "mistral",
    id_again: "anthropic",
    id_with_colon: "mistral anthropic",
    no_function_name: f"{OPENAI} gemini vllm vllm-plain llamacpp",
    index_of_a_call: f"{OPENAI} vllm vllm-plain llamacpp",
    broken_arguments: f"ollama {TEMPLATE}",
    arguments_as_a_list: f"ollama {TEMPLATE}",
    arguments_as_an_object: f"{OPENAI} ollama vllm {TEMPLATE}",
    no_messages: f"{ORDER} ollama llamacpp",
    unknown_role: f"{ORDER} ollama llamacpp",
    developer: "deepseek gemini mistral llamacpp",
    null_content: CONTENT,
    empty_content: "anthropic",
    empty_content_of_calls: "anthropic",
    image_of_the_system: CONTENT,
    name_with_a_space: f"{OPENAI} mistral",
    name: "mistral",
    unknown_field: f"{OPENAI} mistral",
    system_later: TEMPLATE,
    user_twice: "llamacpp",
    user_after_a_tool: "mistral llamacpp",
    assistant_last: "mistral",
    call_after_an_answer: "deepseek gemini llamacpp",
    reasoning: "(openai) (azure) (openrouter) (mistral)",
    no_reasoning: "(deepseek)",
    no_reasoning_of_the_answer: "(deepseek)",
    no_signature: "(gemini)",
    other_signature: "(gemini)",
    unknown_parameter: "openai azure mistral",
    newer_limit: "(mistral)",
    usage_of_no_stream: f"{OPENAI} mistral vllm vllm-plain",
    choice_without_tools: f"{OPENAI} vllm vllm-plain",
    parallel_without_tools: OPENAI,
    no_tools: f"{OPENAI} deepseek gemini mistral anthropic vllm vllm-plain",
    tool_with_a_dot: f"{OPENAI} deepseek gemini mistral anthropic",
    tool_without_an_object: f"{OPENAI} deepseek gemini mistral anthropic",
    unknown_tool: OPENAI,
    open_schema: f"{OPENAI} deepseek",
    optional_property: f"{OPENAI} deepseek",
    any_json: f"{OPENAI} deepseek",
}


@pytest.mark.parametrize("fault", REFUSED_BY, ids=lambda fault: fault.__name__)
def test_profiles_refuse_a_fault(ask: Ask, model: ScriptedModel, fault: Callable[[Body], None]) -> None:
    names = REFUSED_BY[fault].split()
    expected = {name.strip("()") for name in names}
    if any("(" not in name for name in names):
        expected.add("strictest")

    refused = set()
    for name, profile in PROFILES.items():
        model.profile, body = profile, conversation(name)
        fault(body)
        if ask(body).status_code != 200:
            refused.add(name)
    model.violations.clear()

    assert refused == expected


ERRORS: dict[str, tuple[Callable[[Body], None], int, object]] = {
    "openai": (
        without_result,
        400,
        {
            "error": {
                "message": "An assistant message with 'tool_calls' must be followed by tool messages responding to "
                "each 'tool_call_id'. The following tool_call_ids did not have response messages: aaaaaaaa2",
                "type": "invalid_request_error",
                "param": "messages.[4].role",
                "code": None,
            }
        },
    ),
    "gemini": (
        no_signature,
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "Function call is missing a thought_signature in functionCall parts. This is "
                    "required for tools to work correctly, and missing thought_signature may lead to degraded model "
                    "performance. Additional data, function call `default_api:calculator` , position 3. Please refer "
                    "to https://ai.google.dev/gemini-api/docs/thought-signatures for more details.",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
    ),
    "mistral": (
        newer_limit,
        422,
        {
            "object": "error",
            "message": {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "max_completion_tokens"],
                        "msg": "Extra inputs are not permitted",
                    }
                ]
            },
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        },
    ),
    "vllm": (
        usage_of_no_stream,
        400,
        {
            "error": {
                "message": "Stream options can only be defined when `stream=True`.",
                "type": "BadRequestError",
                "param": "stream_options",
                "code": 400,
            }
        },
    ),
    "llamacpp": (
        system_later,
        500,
        {
            "error": {
                "code": 500,
                "message": "\n------------\nError: Jinja Exception: System message must be at the beginning.",
                "type": "server_error",
            }
        },
    ),
}


@pytest.mark.parametrize("profile", ERRORS)
def test_profile_answers_in_its_own_words(ask: Ask, model: ScriptedModel, profile: str) -> None:
    fault, status, error = ERRORS[profile]
    model.profile, body = PROFILES[profile], conversation(profile)
    fault(body)

    response = ask(body)

    assert (response.status_code, response.json()) == (status, error)
    assert model.violations == model.requests[-1].violations != []
    model.violations.clear()


def test_model_that_refuses_a_parameter_names_it(ask: Ask, model: ScriptedModel) -> None:
    for name in ("azure", "openai", "gemini", "mistral"):
        model.profile = PROFILES[name].refusing("temperature")
        response = ask(conversation(name))
        assert response.status_code in (400, 422)
        assert "temperature" in json.dumps(response.json())
    model.violations.clear()
