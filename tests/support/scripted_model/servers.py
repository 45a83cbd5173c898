"""Profiles of servers that one runs oneself, with the file of the server that each rule is from."""

from collections.abc import Iterator
from dataclasses import replace

from tests.support.scripted_model import parameters, strictness
from tests.support.scripted_model.profile import Profile, openai_error
from tests.support.scripted_model.strictness import Body, Rule, Violation
from tests.support.scripted_model.wire import Wire


def _vllm_error(violation: Violation) -> object:
    return {
        "error": {
            "message": violation.message,
            "type": "BadRequestError",
            "param": violation.param,
            "code": violation.status,
        }
    }


def _vllm_old_error(violation: Violation) -> object:
    return {
        "object": "error",
        "message": violation.message,
        "type": "BadRequestError",
        "param": violation.param,
        "code": violation.status,
    }


# vllm/entrypoints/openai/chat_completion/protocol.py: `validate_stream_options`, `check_tool_usage` (an empty list of
# tools, and a tool choice without tools, are refused); unknown parameters are taken. Order and ids are left to the
# model's chat template. Shape of errors: github.com/llm-d/llm-d-inference-sim/issues/596, before: vllm#4667. Ids:
# `make_tool_call_id` in vllm/entrypoints/chat_utils.py; with 46 characters they are too long for OpenAI. `reasoning` is
# the name since `reasoning_content` is deprecated (`_normalize_messages_before`).
_VLLM_RULES = (
    strictness.content_is_complete,
    strictness.calls_are_functions,
    parameters.vllm_tools_are_used,
    parameters.vllm_stream_options_need_a_stream,
)
VLLM = Profile(
    "vllm",
    _VLLM_RULES,
    Wire(call_id=lambda number: f"chatcmpl-tool-{number:032x}", reasoning="reasoning", empty_content=""),
    _vllm_error,
    too_long=Violation(
        "This model's maximum context length is 1024 tokens. However, you requested 1029 tokens (1028 in the messages, "
        "1 in the completion). Please reduce the length of the messages or completion"
    ),
)

# vLLM before the shape of errors changed, without `--reasoning-parser`: the opening tag is a part of the prompt for
# models whose template forces them to think (Qwen3 Thinking, DeepSeek R1), so only the closing one is in the answer.
# Then `_postprocess_messages` of chat_utils.py still failed at arguments that were not JSON; today it takes `{}`.
VLLM_PLAIN = replace(
    VLLM,
    name="vllm-plain",
    rules=(*_VLLM_RULES, strictness.arguments_are_objects, strictness.system_message_is_first),
    wire=replace(VLLM.wire, reasoning="no opening think"),
    error=_vllm_old_error,
)


# middleware/openai.go, `ChatMiddleware`: empty messages; openai/openai.go: `FromChatRequest` (content is optional only
# beside calls), `FromCompletionToolCall` (arguments are parsed into a map), `NewError`, `ToToolCalls` (whole calls with
# an index), `FinishChunk`, `Reasoning`; unknown parameters, `max_completion_tokens` among them, are ignored. Ids:
# `call_` and 8 characters, server/routes.go. Too long, for models that do not truncate: server/routes.go.
OLLAMA = Profile(
    "ollama",
    (
        strictness.roles_are_known(),
        strictness.content_is_complete,
        strictness.arguments_are_objects,
    ),
    Wire(
        call_id=lambda number: f"call_{number:08d}",
        whole_calls=True,
        empty_content="",
        reasoning="reasoning",
    ),
    openai_error,
    too_long=Violation("the input length exceeds the context length"),
)


def _llamacpp_error(violation: Violation) -> object:
    kinds = {400: "invalid_request_error", 500: "server_error"}
    error = {"code": violation.status, "message": violation.message, "type": violation.type or kinds[violation.status]}
    return {"error": error | ({"n_prompt_tokens": 1407, "n_ctx": 256} if violation.type else {})}


def _template(rule: Rule) -> Rule:
    """Return a rule of a chat template: its error is an exception in the server."""

    def other(body: Body) -> Iterator[Violation]:
        for violation in rule(body):
            yield replace(violation, message=f"\n------------\nError: Jinja Exception: {violation.message}", status=500)

    return other


# tools/server/server-common.cpp, `oaicompat_chat_params_parse`: content; common/chat.cpp,
# `common_chat_msgs_parse_oaicompat`: type, function and name of earlier calls. Templates: Qwen 3.5 refuses later system
# messages (llama.cpp#27367, 500; #20733), Devstral and Ministral want turns (llama.cpp#19851, 500). Too long:
# llama.cpp#15780; with the status 400: github.com/oobabooga/textgen/issues/7257.
LLAMACPP = Profile(
    "llamacpp",
    (
        strictness.roles_are_known(),
        strictness.content_is_complete,
        strictness.calls_are_functions,
        _template(strictness.system_message_is_first),
        _template(strictness.roles_alternate),
        _template(strictness.arguments_are_objects),
    ),
    Wire(call_id=lambda number: f"{number:032d}", reasoning="reasoning_content"),
    _llamacpp_error,
    too_long=Violation(
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        type="exceed_context_size_error",
    ),
)

# What the forms allow and some gateway does: no space after `data:` (Spring), CRLF and pings as comments
# (sse-starlette's defaults), no `[DONE]`, no usage, no ids or indexes of calls, arguments as an object, and reasoning
# between tags in the text, as models write it where nothing parses it. Too long: text-generation-inference,
# router/src/validation.rs.
GATEWAY = Profile(
    "gateway",
    (strictness.roles_are_known(), strictness.content_is_complete, strictness.tool_results_follow_their_calls),
    Wire(
        call_id=lambda _: None,
        call_index="null",
        whole_calls=True,
        object_arguments=True,
        reasoning="think",
        usage=None,
        line="\r\n",
        space="",
        comment="ping - 2026-11-30 08:00:00.000000+00:00",
        done=False,
    ),
    _vllm_old_error,
    too_long=Violation("Input validation error: `inputs` must have less than 4096 tokens. Given: 5120"),
)
